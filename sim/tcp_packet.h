// SPDX-License-Identifier: Apache-2.0
// IPv4 packets with TCP as simulated clients and kernels send and read them: real headers, right checksums.
//
//   Bytes syn = build_tcp({.source = client, .destination = {dvipa, 80}, .flags = wire::kTcpSyn, .number = 17});
//   if (auto tcp = read_tcp(bytes)) use(tcp->sequence, tcp->payload);
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/address.h"
#include "sim/network.h"

namespace testudo::sim {

struct TcpPacket {
  Endpoint source, destination;
  std::uint32_t sequence = 0, acknowledgement = 0;
  std::uint8_t flags = 0;
  /// Not 0: names this packet among all of one client's, as TSval of a timestamps option (RFC 7323 section 3).
  std::uint32_t number = 0;
  std::span<const std::uint8_t> payload{};
};

enum class Checksum : bool { kWhole, kLeftToDevice };

/// kLeftToDevice: only the pseudo header's sum is in the TCP checksum, as a kernel hands it to a device with
/// offload.
[[nodiscard]] Bytes build_tcp(const TcpPacket& tcp, Checksum checksum = Checksum::kWhole);

/// Nothing unless both checksums are right. Views of `packet`.
[[nodiscard]] std::optional<TcpPacket> read_tcp(std::span<const std::uint8_t> packet);

/// The byte at `offset` of the answer to a connection from this port.
[[nodiscard]] constexpr std::uint8_t answer_byte(std::uint16_t client_port, std::uint64_t offset) {
  return static_cast<std::uint8_t>(offset * 31 + (offset >> 8) * 7 + client_port);
}

inline constexpr std::uint32_t kSegmentSize = 1340;  // bytes of TCP payload: fits the TUN's MTU of 1400

}  // namespace testudo::sim
