// SPDX-License-Identifier: Apache-2.0
// UdpSender: the sending half of a UdpPort. Groups datagrams into trains and hands many trains to the kernel at
// once.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "io/port.h"
#include "io/socket_address.h"
#include "wire/packet.h"

namespace testudo::io {

inline constexpr std::size_t kTrainSegmentsMax = 64;  // UDP_MAX_SEGMENTS of older kernels; 128 in newer ones
inline constexpr std::size_t kTrainBytesMax = 65507;  // 65535 − IPv4 header − UDP header; over IPv6 20 more

/// How many of the first datagrams (`burst` is not empty) can leave as one train.
[[nodiscard]] std::size_t train_length(std::span<const wire::Outgoing> burst);

class UdpSender {
 public:
  /// For a socket of `family`, AF_INET or AF_INET6. `trains`: UDP_SEGMENT may be used. `choose_source`: the socket
  /// is bound to the wildcard, each datagram names its source.
  UdpSender(int family, bool trains, bool choose_source);

  void send(int socket, std::span<const wire::Outgoing> burst, PortCounters& counters);

 private:
  using Burst = std::span<const wire::Outgoing>;
  struct alignas(cmsghdr) Control {
    std::array<std::uint8_t,
               CMSG_SPACE(sizeof(std::uint16_t)) + CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(in6_pktinfo))>
        bytes;
  };
  /// Prepares messages for as much of the burst as there is room for; returns how many datagrams that is.
  std::size_t gather(Burst burst);
  void add_message(Burst train);
  void add_controls(msghdr& message, const wire::Outgoing& first, bool train) const;
  void add_source(msghdr& message, IpAddress source) const;
  void transmit(int socket, PortCounters& counters);
  void send_one_by_one(int socket, Burst train, PortCounters& counters);

  int family_;
  bool trains_;
  bool choose_source_;
  std::size_t used_ = 0;  // messages
  std::size_t pieces_used_ = 0;
  std::vector<mmsghdr> messages_;
  std::vector<Burst> carried_;  // by message
  std::vector<SocketAddress> destinations_;
  std::vector<Control> controls_;
  std::vector<iovec> pieces_;
};

}  // namespace testudo::io
