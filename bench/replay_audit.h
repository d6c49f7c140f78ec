// SPDX-License-Identifier: Apache-2.0
// ReplayAudit: what a receiver with a given replay window would make of the packets of each SA, in the order in
// which they arrive (RFC 4303 section 3.4.3). It keeps one bit per number, so that ten million packets are a
// megabyte.
//
//   ReplayAudit audit;
//   audit.packet({.time_ns = t, .spi = spi, .sequence = n, .sender = mac});
//   audit.json();          // per SA: packets, duplicates, refused by window, the first few with their neighbours
//
// A number of 32 bits: an SA without extended numbers, or the first 2^32 of one with.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace testudo::bench {

inline constexpr std::array<std::uint32_t, 3> kAuditWindows = {32, 64, 128};

struct AuditedPacket {
  std::uint64_t time_ns = 0;
  std::uint32_t spi = 0;
  std::uint32_t sequence = 0;
  std::uint64_t sender = 0;  // MAC address
};

class ReplayAudit {
 public:
  void packet(const AuditedPacket& packet);
  /// In all.
  [[nodiscard]] std::uint64_t packets() const { return packets_; }
  /// One object; `indent` spaces before each line.
  [[nodiscard]] std::string json() const;

 private:
  static constexpr std::size_t kBefore = 24, kAfter = 6;  // packets around one that would be refused
  static constexpr std::size_t kExamples = 12;            // of one SA

  struct Example {
    std::uint32_t sequence = 0;
    std::uint32_t behind = 0;
    bool duplicate = false;
    std::uint64_t since_newest_ns = 0;      // how long the newest number had been there
    std::vector<AuditedPacket> neighbours;  // in the order of arrival, with the packet itself
    std::size_t wanted = 0;                 // that are still to come
  };
  struct Sa {
    std::uint64_t packets = 0, duplicates = 0, reordered = 0;
    std::uint32_t newest = 0;
    std::uint64_t newest_ns = 0;
    std::uint32_t deepest = 0;
    std::array<std::uint64_t, kAuditWindows.size()> too_old{};
    std::vector<std::uint64_t> seen;  // a bit per number
    std::map<std::uint64_t, std::uint64_t> senders;
    std::uint64_t changes = 0;  // a packet of another sender than the one before
    std::array<AuditedPacket, kBefore> last{};
    std::vector<Example> examples;
  };
  static bool mark(Sa& sa, std::uint32_t sequence);
  static void note(Sa& sa, const AuditedPacket& packet, std::uint32_t behind, bool duplicate);
  static std::string text(const Example& example);
  static std::string text(std::uint32_t spi, const Sa& sa);

  std::map<std::uint32_t, Sa> sas_;  // by SPI
  std::uint64_t packets_ = 0;
};

}  // namespace testudo::bench
