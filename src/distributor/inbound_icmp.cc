// SPDX-License-Identifier: Apache-2.0
// ICMP errors. Inside an SA, and about connections in the clear, they go to the host whose connection they speak
// of. Outside, about packets of an SA, nothing but "too big" is listened to, and that with care (RFC 4301
// section 6.1.1): anybody can send them.
#include <algorithm>

#include "distributor/inbound.h"
#include "policy/inbound_check.h"
#include "wire/ah.h"
#include "wire/esp.h"
#include "wire/udp.h"

namespace testudo::distributor {
namespace {

/// What identifies a packet that we have protected.
struct Sent {
  Spi spi{};  // none: it is none, or too little of it is there
  std::uint32_t sequence_low = 0;
};

Sent sent_of(const wire::IpView& enclosed) {
  auto payload = enclosed.payload();
  if (enclosed.protocol() == wire::kProtocolAh) {
    // The ICV may be cut off.
    if (payload.size() < wire::kAhFixedSize) return {};
    const auto& ah = *reinterpret_cast<const wire::AhHeader*>(payload.data());
    return {ah.spi(), ah.sequence_low()};
  }
  if (enclosed.protocol() == wire::kProtocolUdp) {
    payload = payload.subspan(std::min(payload.size(), wire::kUdpHeaderSize));
  }
  const wire::EspHeader* esp = wire::parse_esp(payload);
  return esp == nullptr ? Sent{} : Sent{esp->spi(), esp->sequence_low()};
}

bool is_protected(const wire::IpView& enclosed) {
  if (enclosed.protocol() == wire::kProtocolEsp || enclosed.protocol() == wire::kProtocolAh) return true;
  if (enclosed.protocol() != wire::kProtocolUdp || enclosed.payload().size() < wire::kUdpHeaderSize) return false;
  const auto& udp = *reinterpret_cast<const wire::UdpHeader*>(enclosed.payload().data());
  return udp.source_port.host() == wire::kNatTraversalPort;
}

std::uint16_t usable_mtu(const wire::IcmpError& error) {
  const std::uint32_t least = error.enclosed.is_v4() ? wire::kIpv4MtuMin : std::uint32_t{wire::kIpv6MtuMin};
  // RFC 1191 section 5: a router that does not say is asked again, with packets half as large.
  const std::uint32_t said =
      error.mtu != 0 ? error.mtu : static_cast<std::uint32_t>(error.enclosed.total_size() / 2);
  return static_cast<std::uint16_t>(std::clamp<std::uint32_t>(said, least, 0xffff));
}

}  // namespace

/// The connection at another node that has sent the packet in question. Null: none.
const Connection* Inbound::complained_of(const wire::IcmpError& error) {
  const wire::IpView& sent = error.enclosed;
  const auto ports = sent.payload();  // of TCP: source and destination port
  if (sent.protocol() != wire::kProtocolTcp || sent.fragment_offset() != 0 || ports.size() < 4) return nullptr;
  const ConnectionKey key{.client = {sent.destination(), static_cast<std::uint16_t>(ports[2] << 8 | ports[3])},
                          .dvipa = {sent.source(), static_cast<std::uint16_t>(ports[0] << 8 | ports[1])}};
  const Connection* connection = connections_.find(key, connections_.hash(key));
  if (connection == nullptr || connection->target == distribution_->self()) return nullptr;
  return distribution_->member(connection->target) == nullptr ? nullptr : connection;
}

/// An ICMP error in the clear. True: what becomes of it is decided; else it is a packet like others.
bool Inbound::clear_error(std::size_t index, std::span<std::uint8_t> bytes, const wire::IpView& ip,
                          const Dvipa& dvipa) {
  const auto error = wire::parse_icmp_error(ip);
  if (!error || error->enclosed.source() != dvipa.address) return false;
  if (is_protected(error->enclosed)) {
    error_about_protected(index, *error);
    return true;
  }
  // About a connection in the clear: what permits the connection permits the error.
  const Connection* connection = complained_of(*error);
  const auto answer = policy::answer_to_enclosed(ip);
  if (connection == nullptr || !connection->clear() || !answer || filters_ == nullptr) return false;
  if (policy::judge_clear(*filters_, *answer).drop) return false;
  counters_.icmp_relayed.add();
  forward_clear(index, bytes, dvipa, connection->target);
  return true;
}

/// In the clear, to another address of this host. Of such packets only errors about its own SAs are looked at.
void Inbound::clear_for_gateway(std::size_t index, const wire::IpView& ip) {
  const auto error = is_local(ip.destination()) ? wire::parse_icmp_error(ip) : std::nullopt;
  if (!error || error->enclosed.source() != ip.destination() || !is_protected(error->enclosed)) {
    return drop(index, Drop::kNotForDvipa);
  }
  error_about_protected(index, *error);
}

void Inbound::error_about_protected(std::size_t index, const wire::IcmpError& error) {
  const Sent sent = sent_of(error.enclosed);
  const auto found = outbound_.find(OutboundKey{sent.spi, error.enclosed.destination()});
  if (!error.too_big || sent.spi == Spi() || found == outbound_.end()) return drop(index, Drop::kIcmpUnverified);
  verdicts_[index].kind = Verdict::Kind::kIgnore;
  counters_.path_mtu_hints.add();
  hints_[hints_count_++] = {.sa = found->second, .sequence_low = sent.sequence_low, .mtu = usable_mtu(error)};
}

}  // namespace testudo::distributor
