// SPDX-License-Identifier: Apache-2.0
#include "io/udp/sender.h"

#include <netinet/udp.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace testudo::io {
namespace {

constexpr std::size_t kMessages = 64;  // trains in one sendmmsg()
constexpr std::size_t kPieces = 2048;  // of all of them

bool same_way(const wire::Outgoing& a, const wire::Outgoing& b) {
  return a.destination == b.destination && a.source == b.source && a.traffic_class == b.traffic_class;
}

std::size_t pieces_of(const wire::Outgoing& o, iovec* out) {
  std::size_t n = 0;
  if (o.head_size > 0) out[n++] = {const_cast<std::uint8_t*>(o.head.data()), o.head_size};
  if (o.body_size > 0) out[n++] = {const_cast<std::uint8_t*>(o.body), o.body_size};
  return n;
}

template <typename T>
void add_control(msghdr& message, int level, int type, const T& value) {
  auto* c = reinterpret_cast<cmsghdr*>(static_cast<std::uint8_t*>(message.msg_control) + message.msg_controllen);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(sizeof value);
  std::memcpy(CMSG_DATA(c), &value, sizeof value);
  message.msg_controllen += CMSG_SPACE(sizeof value);
}

void count_sent(PortCounters& counters, std::span<const wire::Outgoing> train) {
  std::uint64_t bytes = 0;
  for (const wire::Outgoing& o : train) bytes += o.size();
  counters.packets_out.add(train.size());
  counters.bytes_out.add(bytes);
  counters.trains_out.add();
}

}  // namespace

std::size_t train_length(std::span<const wire::Outgoing> burst) {
  const std::size_t segment = burst.front().size();
  std::size_t total = segment;
  std::size_t n = 1;
  if (segment == 0) return n;
  while (n < burst.size() && n < kTrainSegmentsMax && same_way(burst[n], burst.front())) {
    const std::size_t size = burst[n].size();
    total += size;
    if (size > segment || size == 0 || total > kTrainBytesMax) break;
    ++n;
    if (size < segment) break;  // only the last may be shorter
  }
  return n;
}

UdpSender::UdpSender(int family, bool trains, bool choose_source)
    : family_(family),
      trains_(trains),
      choose_source_(choose_source),
      messages_(kMessages),
      carried_(kMessages),
      destinations_(kMessages),
      controls_(kMessages),
      pieces_(kPieces) {}

void UdpSender::send(int socket, std::span<const wire::Outgoing> burst, PortCounters& counters) {
  while (!burst.empty()) {
    burst = burst.subspan(gather(burst));
    transmit(socket, counters);
  }
}

std::size_t UdpSender::gather(Burst burst) {
  used_ = pieces_used_ = 0;
  std::size_t done = 0;
  while (done < burst.size() && used_ < kMessages) {
    const Burst rest = burst.subspan(done);
    const std::size_t n = trains_ ? train_length(rest) : 1;
    if (pieces_used_ + 2 * n > kPieces) break;
    add_message(rest.first(n));
    done += n;
  }
  CHECK(done > 0);
  return done;
}

void UdpSender::add_message(Burst train) {
  const std::size_t i = used_++;
  msghdr& m = messages_[i].msg_hdr;
  destinations_[i] = SocketAddress(train.front().destination);
  carried_[i] = train;
  m = {};
  m.msg_name = destinations_[i].get();
  m.msg_namelen = destinations_[i].size();
  m.msg_iov = &pieces_[pieces_used_];
  for (const wire::Outgoing& o : train) pieces_used_ += pieces_of(o, &pieces_[pieces_used_]);
  m.msg_iovlen = static_cast<std::size_t>(&pieces_[0] + pieces_used_ - m.msg_iov);
  m.msg_control = controls_[i].bytes.data();
  add_controls(m, train.front(), train.size() > 1);
}

void UdpSender::add_controls(msghdr& message, const wire::Outgoing& first, bool train) const {
  if (train) add_control(message, IPPROTO_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(first.size()));
  const auto traffic_class = static_cast<int>(first.traffic_class);
  if (traffic_class != 0 && family_ == AF_INET) add_control(message, IPPROTO_IP, IP_TOS, traffic_class);
  if (traffic_class != 0 && family_ == AF_INET6) add_control(message, IPPROTO_IPV6, IPV6_TCLASS, traffic_class);
  if (choose_source_ && !first.source.address.is_unspecified()) add_source(message, first.source.address);
}

// Of the other family it is left to the kernel, which refuses the destination then.
void UdpSender::add_source(msghdr& message, IpAddress source) const {
  if (family_of(source) != family_) return;
  if (source.is_v4()) {
    in_pktinfo info{};
    info.ipi_spec_dst = to_in_addr(source);
    add_control(message, IPPROTO_IP, IP_PKTINFO, info);
  } else {
    in6_pktinfo info{};
    info.ipi6_addr = to_in6_addr(source);
    add_control(message, IPPROTO_IPV6, IPV6_PKTINFO, info);
  }
}

void UdpSender::transmit(int socket, PortCounters& counters) {
  std::size_t done = 0;
  while (done < used_) {
    const int n = sendmmsg(socket, &messages_[done], static_cast<unsigned>(used_ - done), MSG_DONTWAIT);
    if (n > 0) {
      for (int i = 0; i < n; ++i) count_sent(counters, carried_[done++]);
      continue;
    }
    const Burst train = carried_[done++];
    const bool refused_as_train = errno == EMSGSIZE || errno == EIO || errno == EINVAL;
    if (refused_as_train && train.size() > 1) {
      send_one_by_one(socket, train, counters);
    } else {
      counters.send_failed.add(train.size());
    }
  }
}

// A device without checksum offload, a transform or a segment above the MTU: the kernel does not cut trains there.
void UdpSender::send_one_by_one(int socket, Burst train, PortCounters& counters) {
  for (std::size_t i = 0; i < train.size(); ++i) {
    std::array<iovec, 2> pieces{};
    Control control;
    SocketAddress destination(train[i].destination);
    msghdr m{};
    m.msg_name = destination.get();
    m.msg_namelen = destination.size();
    m.msg_iov = pieces.data();
    m.msg_iovlen = pieces_of(train[i], pieces.data());
    m.msg_control = control.bytes.data();
    add_controls(m, train[i], false);
    if (sendmsg(socket, &m, MSG_DONTWAIT) >= 0) {
      count_sent(counters, train.subspan(i, 1));
    } else {
      counters.send_failed.add();
    }
  }
}

}  // namespace testudo::io
