// SPDX-License-Identifier: Apache-2.0
#include "io/udp/receiver.h"

#include <netinet/udp.h>

#include <algorithm>
#include <cstring>

namespace testudo::io {
namespace {

constexpr std::size_t kBufferSize = 65536;  // bytes; no datagram and no train is larger

template <typename T>
T control_value(const cmsghdr* c) {
  T value{};
  std::memcpy(&value, CMSG_DATA(c), sizeof value);
  return value;
}

}  // namespace

UdpReceiver::UdpReceiver(std::size_t buffers, Endpoint local)
    : local_(local),
      memory_(new std::uint8_t[buffers * kBufferSize]),
      messages_(buffers),
      pieces_(buffers),
      sources_(buffers),
      controls_(buffers),
      trains_(buffers) {
  for (std::size_t i = 0; i < buffers; ++i) {
    pieces_[i] = {memory_.get() + i * kBufferSize, kBufferSize};
    messages_[i].msg_hdr.msg_name = sources_[i].get();
    messages_[i].msg_hdr.msg_iov = &pieces_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_control = controls_[i].bytes.data();
  }
}

std::size_t UdpReceiver::receive(int socket, std::span<wire::Packet> out, PortCounters& counters) {
  if (next_train_ == trains_read_) read(socket, counters);
  return hand_out(out, counters);
}

void UdpReceiver::read(int socket, PortCounters& counters) {
  for (mmsghdr& m : messages_) {
    m.msg_hdr.msg_namelen = SocketAddress::kRoom;
    m.msg_hdr.msg_controllen = sizeof(Control);
    m.msg_hdr.msg_flags = 0;
  }
  const int n = recvmmsg(socket, messages_.data(), static_cast<unsigned>(messages_.size()), MSG_DONTWAIT, nullptr);
  next_train_ = 0;
  trains_read_ = n > 0 ? static_cast<std::size_t>(n) : 0;
  for (std::size_t i = 0; i < trains_read_; ++i) trains_[i] = train_of(i);
  counters.trains_in.add(trains_read_);
}

UdpReceiver::Train UdpReceiver::train_of(std::size_t index) {
  Train t;
  const mmsghdr& m = messages_[index];
  t.data = memory_.get() + index * kBufferSize;
  t.left = t.segment = m.msg_len;
  t.prototype.source = sources_[index].endpoint();
  t.prototype.destination = local_;
  if (++train_number_ == 0) train_number_ = 1;
  t.prototype.train = train_number_;
  for (const cmsghdr* c = CMSG_FIRSTHDR(&m.msg_hdr); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&m.msg_hdr), const_cast<cmsghdr*>(c))) {
    take_control(t, c);
  }
  return t;
}

void UdpReceiver::take_control(Train& train, const cmsghdr* c) {
  const auto is = [c](int level, int type) { return c->cmsg_level == level && c->cmsg_type == type; };
  wire::Packet& packet = train.prototype;
  if (is(IPPROTO_UDP, UDP_GRO)) {
    train.segment = static_cast<std::uint32_t>(control_value<int>(c));
  } else if (is(IPPROTO_IP, IP_TOS)) {
    packet.traffic_class = control_value<std::uint8_t>(c);
  } else if (is(IPPROTO_IPV6, IPV6_TCLASS)) {
    packet.traffic_class = static_cast<std::uint8_t>(control_value<int>(c));
  } else if (is(IPPROTO_IP, IP_PKTINFO)) {
    packet.destination.address = to_address(control_value<in_pktinfo>(c).ipi_addr);
  } else if (is(IPPROTO_IPV6, IPV6_PKTINFO)) {
    packet.destination.address = to_address(control_value<in6_pktinfo>(c).ipi6_addr);
  }
}

std::size_t UdpReceiver::hand_out(std::span<wire::Packet> out, PortCounters& counters) {
  std::size_t n = 0;
  std::uint64_t bytes = 0;
  while (n < out.size() && next_train_ < trains_read_) {
    Train& t = trains_[next_train_];
    const std::uint32_t size = std::min(t.left, t.segment);
    out[n] = t.prototype;
    out[n].data = t.data;
    out[n++].size = size;
    bytes += size;
    t.data += size;
    t.left -= size;
    if (t.left == 0) ++next_train_;  // also after an empty datagram
  }
  counters.packets_in.add(n);
  counters.bytes_in.add(bytes);
  return n;
}

}  // namespace testudo::io
