// SPDX-License-Identifier: Apache-2.0
// The header that TUN and AF_PACKET put before each packet (virtio 1.1 section 5.1.6, struct virtio_net_hdr): what
// is left to do on it. <linux/virtio_net.h> is not C++. Host byte order.
#pragma once

#include <cstdint>

namespace testudo::io {

struct VirtioHeader {
  static constexpr std::uint8_t kNeedsChecksum = 1;  // flags
  static constexpr std::uint8_t kGsoNone = 0;        // gso_type
  static constexpr std::uint8_t kGsoTcp4 = 1;
  static constexpr std::uint8_t kGsoTcp6 = 4;
  static constexpr std::uint8_t kGsoUdp = 5;     // UDP_L4: equal datagrams of either family
  static constexpr std::uint8_t kGsoEcn = 0x80;  // or'ed: CWR is on the first segment only

  std::uint8_t flags = 0;
  std::uint8_t gso_type = kGsoNone;
  std::uint16_t header_size = 0;      // bytes, all headers
  std::uint16_t segment_size = 0;     // bytes of payload
  std::uint16_t checksum_start = 0;   // bytes from the start of the packet
  std::uint16_t checksum_offset = 0;  // bytes from there to the checksum's field

  [[nodiscard]] std::uint8_t super_segment() const { return gso_type & static_cast<std::uint8_t>(~kGsoEcn); }
};
static_assert(sizeof(VirtioHeader) == 10);

}  // namespace testudo::io
