// SPDX-License-Identifier: Apache-2.0
// Endpoints as the kernel takes them.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/address.h"

namespace testudo::io {

inline sockaddr_in to_socket_address(const Endpoint& e) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_addr.s_addr = htonl(e.address.value());
  a.sin_port = htons(e.port);
  return a;
}

inline Endpoint to_endpoint(const sockaddr_in& a) {
  return {IpAddress(ntohl(a.sin_addr.s_addr)), ntohs(a.sin_port)};
}

}  // namespace testudo::io
