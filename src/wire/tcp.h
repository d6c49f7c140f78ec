// SPDX-License-Identifier: Apache-2.0
// TCP headers (RFC 9293 section 3.1).
//
//   if (auto tcp = wire::parse_tcp(ip->payload()); tcp && tcp->is_initial_syn()) …
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/byte_order.h"

namespace testudo::wire {

inline constexpr std::uint8_t kTcpFin = 0x01;
inline constexpr std::uint8_t kTcpSyn = 0x02;
inline constexpr std::uint8_t kTcpRst = 0x04;
inline constexpr std::uint8_t kTcpPsh = 0x08;
inline constexpr std::uint8_t kTcpAck = 0x10;
inline constexpr std::uint8_t kTcpUrg = 0x20;
inline constexpr std::uint8_t kTcpEce = 0x40;
inline constexpr std::uint8_t kTcpCwr = 0x80;

inline constexpr std::size_t kTcpHeaderSize = 20;  // bytes, without options

/// As on the wire, without options.
struct TcpHeader {
  Be<std::uint16_t> source_port, destination_port;
  Be<std::uint32_t> sequence, acknowledgement;
  std::uint8_t offset_reserved = 0x50;  // upper half: header length in units of 4 bytes
  std::uint8_t flags = 0;
  Be<std::uint16_t> window, checksum, urgent;
};
static_assert(sizeof(TcpHeader) == kTcpHeaderSize && alignof(TcpHeader) == 1);

/// A header whose data offset has been checked. A view: valid as long as the bytes are.
class TcpView {
 public:
  [[nodiscard]] const TcpHeader& header() const { return *reinterpret_cast<const TcpHeader*>(bytes_.data()); }
  [[nodiscard]] std::size_t header_size() const { return std::size_t{header().offset_reserved} / 16 * 4; }
  [[nodiscard]] std::uint8_t flags() const { return header().flags; }
  /// SYN without ACK, FIN or RST: the first segment of a connection.
  [[nodiscard]] bool is_initial_syn() const {
    return (flags() & (kTcpSyn | kTcpAck | kTcpFin | kTcpRst)) == kTcpSyn;
  }
  [[nodiscard]] std::span<const std::uint8_t> payload() const { return bytes_.subspan(header_size()); }

 private:
  friend std::optional<TcpView> parse_tcp(std::span<const std::uint8_t> bytes);
  explicit TcpView(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  std::span<const std::uint8_t> bytes_;
};

/// `bytes`: the whole segment. Nothing unless the header is whole with its options.
[[nodiscard]] std::optional<TcpView> parse_tcp(std::span<const std::uint8_t> bytes);

}  // namespace testudo::wire
