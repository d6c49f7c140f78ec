// SPDX-License-Identifier: Apache-2.0
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::wire {

std::optional<TcpView> parse_tcp(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kTcpHeaderSize) return std::nullopt;
  const TcpView view(bytes);
  if (view.header_size() < kTcpHeaderSize || view.header_size() > bytes.size()) return std::nullopt;
  return view;
}

std::optional<UdpView> parse_udp(std::span<const std::uint8_t> bytes) {
  if (bytes.size() < kUdpHeaderSize) return std::nullopt;
  const std::size_t length = UdpView(bytes).header().length.host();
  if (length < kUdpHeaderSize || length > bytes.size()) return std::nullopt;
  return UdpView(bytes.first(length));
}

}  // namespace testudo::wire
