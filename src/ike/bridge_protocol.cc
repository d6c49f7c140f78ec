// SPDX-License-Identifier: Apache-2.0
#include "ike/bridge_protocol.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/secret.h"
#include "bridge.pb.h"
#include "ike/translation.h"
#include "wire/udp.h"
#include "xcf/address_field.h"

namespace testudo::ike {
namespace {

constexpr std::uint32_t kVersion = 2;
constexpr std::uint32_t kPortMax = 65'535;
constexpr std::size_t kErrorMax = 1000;  // bytes
constexpr std::size_t kNameMax = 256;    // bytes
constexpr std::size_t kChildrenMax = 65'536;
constexpr std::size_t kMarkerSize = 4;  // RFC 7296 section 2.23, RFC 3948 section 2.2

/// charon adds the non-ESP marker, and expects it, when neither port is 500; path::IkeDatagram never has it.
bool carries_marker(Endpoint a, Endpoint b) { return a.port != wire::kIkePort && b.port != wire::kIkePort; }

void wipe(std::string& key) { zero({reinterpret_cast<std::uint8_t*>(key.data()), key.size()}); }

std::optional<Endpoint> endpoint_of(const bridge::Host& host) {
  if (host.port() > kPortMax) return std::nullopt;
  return Endpoint{xcf::address_of(host.address()), static_cast<std::uint16_t>(host.port())};
}

void set_host(bridge::Host* host, Endpoint endpoint) {
  host->set_address(endpoint.address.to_bytes());
  host->set_port(endpoint.port);
}

constexpr bool is_ipsec(std::uint32_t protocol) {
  return protocol == static_cast<std::uint32_t>(ipsec::Protocol::kEsp) ||
         protocol == static_cast<std::uint32_t>(ipsec::Protocol::kAh);
}

/// Of another protocol there is no SA; the name of an ESP SA stands for it, and AddSa refuses it by number.
SaName name_of(const bridge::SaId& id) {
  return {Spi(id.spi()), xcf::address_of(id.destination().address()),
          is_ipsec(id.protocol()) ? static_cast<ipsec::Protocol>(id.protocol()) : ipsec::Protocol::kEsp};
}

void set_error(bridge::Answer& answer, const std::string& text) { answer.set_error(text.substr(0, kErrorMax)); }

void set_result(bridge::Answer& answer, const Result<void>& result) {
  if (!result) set_error(answer, result.error().message);
}

void get_spi(IkeEvents& events, const bridge::GetSpi& m, bridge::Answer& answer) {
  if (!is_ipsec(m.protocol()))
    return set_error(answer,
                     fmt::format("SPI of IP protocol {}: only ESP (50) and AH (51) have one", m.protocol()));
  const auto spi =
      events.allocate_spi(xcf::address_of(m.destination().address()), xcf::address_of(m.source().address()));
  if (!spi) return set_error(answer, spi.error().message);
  answer.set_spi(spi->value());
}

void add_sa(IkeEvents& events, const bridge::AddSa& m, std::uint32_t generation, bridge::Answer& answer) {
  auto sa = translate(m, generation);
  if (!sa) return set_error(answer, sa.error().message);
  set_result(answer, events.add_sa(std::move(*sa)));
}

void update_sa(IkeEvents& events, const bridge::UpdateSa& m, bridge::Answer& answer) {
  const auto source = endpoint_of(m.new_source());
  const auto destination = endpoint_of(m.new_destination());
  if (!source || !destination) return set_error(answer, "UDP port above 65535");
  if (m.encapsulation() && (source->port == 0 || destination->port == 0)) {
    return set_error(answer, "SA with UDP encapsulation, but without ports");
  }
  set_result(answer, events.update_sa(name_of(m.id()), {*source, *destination, m.encapsulation()}));
}

void query_sa(IkeEvents& events, const bridge::QuerySa& m, bridge::Answer& answer) {
  const auto use = events.query_sa(name_of(m.id()));
  if (!use) return set_error(answer, use.error().message);
  answer.set_bytes(use->bytes);
  answer.set_packets(use->packets);
  answer.set_used(use->used);
  answer.set_idle_seconds(use->idle_seconds);
}

Proposal proposal_of(const bridge::Proposal& m) {
  constexpr std::uint32_t kEncryption = 1, kIntegrity = 3;  // transform types of IKEv2
  Proposal out{
      .protocol = is_ipsec(m.protocol()) ? static_cast<ipsec::Protocol>(m.protocol()) : ipsec::Protocol::kEsp,
      .encryption = {},
      .integrity = {}};
  for (const bridge::Transform& t : m.transforms()) {
    if (t.type() == kEncryption) out.encryption.push_back({t.number(), t.key_bits()});
    if (t.type() == kIntegrity) out.integrity.push_back({t.number(), t.key_bits()});
  }
  return out;
}

ChildConfiguration child_of(const bridge::Child& m) {
  ChildConfiguration out{.connection = m.connection().substr(0, kNameMax),
                         .child = m.name().substr(0, kNameMax),
                         .mode = m.mode(),
                         .ipcomp = m.ipcomp(),
                         .sha256_96 = m.sha256_96(),
                         .proposals = {}};
  for (const bridge::Proposal& proposal : m.proposals()) out.proposals.push_back(proposal_of(proposal));
  return out;
}

enum class Change : std::uint8_t { kAdd, kDelete };

void policy(IkeEvents& events, const bridge::Policy& m, Change change, std::uint32_t generation,
            bridge::Answer& answer) {
  const auto translated = translate(m, generation);
  if (!translated) return set_error(answer, translated.error().message);
  if (translated->filters.empty()) return;
  set_result(answer, change == Change::kAdd ? events.add_policy(*translated) : events.delete_policy(*translated));
}

}  // namespace

Result<std::string> BridgeProtocol::handle(std::span<std::uint8_t> message) {
  bridge::ToNode m;
  const bool parsed =
      message.size() <= kBridgeMessageMax && m.ParseFromArray(message.data(), static_cast<int>(message.size()));
  if (!message.empty()) zero(message);
  if (!parsed) return fail(fmt::format("message of {} bytes is malformed", message.size()));
  if (!greeted_) return greet(m);
  if (m.has_hello()) return fail("a second Hello on one connection");
  if (m.has_ike()) {
    send_ike(m.ike());
    return std::string();
  }
  bridge::ToCharon reply;
  *reply.mutable_answer() = answer(m);
  reply.mutable_answer()->set_request(m.request());
  if (m.has_add_sa()) {
    wipe(*m.mutable_add_sa()->mutable_encryption_key());
    wipe(*m.mutable_add_sa()->mutable_integrity_key());
  }
  return m.request() == 0 ? std::string() : reply.SerializeAsString();
}

Result<std::string> BridgeProtocol::greet(const bridge::ToNode& m) {
  if (!m.has_hello()) return fail("the first message is not a Hello");
  if (m.hello().version() != kVersion) {
    return fail(
        fmt::format("the charon plugin speaks version {} of the bridge, this node {}: install both from one build",
                    m.hello().version(), kVersion));
  }
  greeted_ = true;
  if (m.hello().starts() || charons_ == 0) ++charons_;
  events_.ike_connected(m.hello().daemon().substr(0, kErrorMax), m.hello().starts() && charons_ > 1);
  bridge::ToCharon reply;
  reply.mutable_welcome()->set_instance(instance_);
  return reply.SerializeAsString();
}

bridge::Answer BridgeProtocol::answer(const bridge::ToNode& m) {
  bridge::Answer answer;
  const std::uint32_t generation = charons_ - 1;
  switch (m.message_case()) {
    case bridge::ToNode::kGetSpi:
      get_spi(events_, m.get_spi(), answer);
      break;
    case bridge::ToNode::kAddSa:
      add_sa(events_, m.add_sa(), generation, answer);
      break;
    case bridge::ToNode::kUpdateSa:
      update_sa(events_, m.update_sa(), answer);
      break;
    case bridge::ToNode::kQuerySa:
      query_sa(events_, m.query_sa(), answer);
      break;
    case bridge::ToNode::kDeleteSa:
      set_result(answer, events_.delete_sa(name_of(m.delete_sa().id())));
      break;
    case bridge::ToNode::kFlushSas:
      events_.flush_sas();
      break;
    case bridge::ToNode::kAddPolicy:
      policy(events_, m.add_policy().policy(), Change::kAdd, generation, answer);
      break;
    case bridge::ToNode::kDeletePolicy:
      policy(events_, m.delete_policy().policy(), Change::kDelete, generation, answer);
      break;
    case bridge::ToNode::kFlushPolicies:
      events_.flush_policies();
      break;
    case bridge::ToNode::kConfiguration:
      set_result(answer, configuration(m.configuration()));
      break;
    default:
      set_error(answer, "the node does not know this request");
  }
  return answer;
}

Result<void> BridgeProtocol::configuration(const bridge::Configuration& part) {
  for (const bridge::Child& child : part.children()) {
    if (children_.size() == kChildrenMax)
      return fail(fmt::format("more than {} child configurations", kChildrenMax));
    children_.push_back(child_of(child));
  }
  if (part.more()) return {};
  return events_.ike_configuration(std::exchange(children_, {}));
}

void BridgeProtocol::send_ike(const bridge::IkeDatagram& m) {
  const auto local = endpoint_of(m.source());
  const auto remote = endpoint_of(m.destination());
  if (!local || !remote) return;
  std::span payload(reinterpret_cast<const std::uint8_t*>(m.payload().data()), m.payload().size());
  if (payload.empty() || payload.size() > kIkePayloadMax) return;
  const bool keepalive = payload.size() == 1;  // 0xff, without a marker
  if (carries_marker(*local, *remote) && !keepalive) {
    if (payload.size() <= kMarkerSize) return;
    payload = payload.subspan(kMarkerSize);
  }
  events_.send_ike(*local, *remote, payload);
}

std::string BridgeProtocol::expire(const SaName& name, IpAddress source, Expiry expiry) {
  bridge::ToCharon m;
  bridge::SaId* id = m.mutable_expire()->mutable_id();
  id->mutable_source()->set_address(source.to_bytes());
  id->mutable_destination()->set_address(name.destination.to_bytes());
  id->set_spi(name.spi.value());
  id->set_protocol(static_cast<std::uint32_t>(name.protocol));
  m.mutable_expire()->set_hard(expiry == Expiry::kHard);
  return m.SerializeAsString();
}

std::string BridgeProtocol::acquire(const Wanted& wanted) {
  const auto fill = [&](bridge::Selector* selector, Endpoint endpoint) {
    selector->set_first(endpoint.address.to_bytes());
    selector->set_last(endpoint.address.to_bytes());
    selector->set_protocol(wanted.protocol);
    selector->set_first_port(endpoint.port);
    selector->set_last_port(endpoint.port == 0 ? kPortMax : endpoint.port);
  };
  bridge::ToCharon m;
  m.mutable_acquire()->set_reqid(wanted.reqid);
  fill(m.mutable_acquire()->mutable_source(), wanted.source);
  fill(m.mutable_acquire()->mutable_destination(), wanted.destination);
  return m.SerializeAsString();
}

std::string BridgeProtocol::deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) {
  bridge::ToCharon m;
  bridge::IkeDatagram* ike = m.mutable_ike();
  set_host(ike->mutable_source(), remote);
  set_host(ike->mutable_destination(), local);
  std::string& bytes = *ike->mutable_payload();
  const bool keepalive = payload.size() == 1;
  if (carries_marker(local, remote) && !keepalive) bytes.assign(kMarkerSize, '\0');
  bytes.append(reinterpret_cast<const char*>(payload.data()), payload.size());
  return m.SerializeAsString();
}

}  // namespace testudo::ike
