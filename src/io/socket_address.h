// SPDX-License-Identifier: Apache-2.0
// Endpoints as the kernel takes them, of either family.
//
//   const io::SocketAddress to({dvipa, 4500});
//   bind(fd, to.get(), to.size());
//   io::SocketAddress from;                        // room for any
//   socklen_t size = io::SocketAddress::kRoom;
//   getsockname(fd, from.get(), &size);
//   use(from.endpoint());
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

#include "base/address.h"

namespace testudo::io {

inline in_addr to_in_addr(IpAddress v4) { return {.s_addr = htonl(v4.v4())}; }
inline in6_addr to_in6_addr(IpAddress v6) {
  in6_addr out;
  const auto bytes = v6.bytes();
  std::memcpy(&out, bytes.data(), sizeof out);
  return out;
}
inline IpAddress to_address(in_addr a) { return IpAddress(ntohl(a.s_addr)); }
inline IpAddress to_address(const in6_addr& a) { return IpAddress(std::span<const std::uint8_t, 16>(a.s6_addr)); }

/// AF_INET or AF_INET6, as the address is; link-local ones come without their interface.
class SocketAddress {
 public:
  static constexpr socklen_t kRoom = sizeof(sockaddr_in6);

  SocketAddress() : v6_{} {}
  explicit SocketAddress(const Endpoint& e) : v6_{} {
    if (e.address.is_v4()) {
      v4_.sin_family = AF_INET;
      v4_.sin_port = htons(e.port);
      v4_.sin_addr = to_in_addr(e.address);
    } else {
      v6_.sin6_family = AF_INET6;
      v6_.sin6_port = htons(e.port);
      v6_.sin6_addr = to_in6_addr(e.address);
    }
  }

  [[nodiscard]] sockaddr* get() { return &any_; }
  [[nodiscard]] const sockaddr* get() const { return &any_; }
  [[nodiscard]] int family() const { return any_.sa_family; }
  [[nodiscard]] socklen_t size() const { return family() == AF_INET ? sizeof v4_ : sizeof v6_; }
  [[nodiscard]] Endpoint endpoint() const {
    return family() == AF_INET ? Endpoint{to_address(v4_.sin_addr), ntohs(v4_.sin_port)}
                               : Endpoint{to_address(v6_.sin6_addr), ntohs(v6_.sin6_port)};
  }

 private:
  union {
    sockaddr any_;
    sockaddr_in v4_;
    sockaddr_in6 v6_;
  };
};

/// AF_INET or AF_INET6.
inline int family_of(IpAddress address) { return address.is_v4() ? AF_INET : AF_INET6; }

}  // namespace testudo::io
