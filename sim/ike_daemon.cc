// SPDX-License-Identifier: Apache-2.0
#include "sim/ike_daemon.h"

#include <utility>

#include "base/check.h"

namespace testudo::sim {

Result<void> SimIkeDaemon::start(ike::IkeEvents& events) {
  events_ = &events;
  executor_.post([this] { events_->ike_connected("simulated IKE daemon", false); });
  return {};
}

bool SimIkeDaemon::acquire(const ike::Wanted&) { return false; }

bool SimIkeDaemon::deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) {
  if (events_ == nullptr) return false;
  Peer& peer = peers_[remote];
  if (!peer.exchange) {
    peer.local = local;
    peer.remote = remote;
    peer.exchange = std::make_unique<IkeExchange>(
        executor_, false,
        IkeExchange::Hooks{
            .send = [this,
                     &peer](std::span<const std::uint8_t> p) { events_->send_ike(peer.local, peer.remote, p); },
            .answer = [this, &peer](const IkeMessage& request) { return answer(peer, request); }});
  }
  peer.exchange->receive(payload);
  return true;
}

std::optional<IkeMessage> SimIkeDaemon::answer(Peer& peer, const IkeMessage& request) {
  if (request.operation == IkeMessage::Operation::kCreate) return create(peer, request);
  deleted(peer, request.spi);
  return IkeMessage{.spi = request.spi};
}

// As responder of a rekey: the outbound SA waits for the delete of the old one, which says that the client is
// ready.
std::optional<IkeMessage> SimIkeDaemon::create(Peer& peer, const IkeMessage& request) {
  const auto spi = events_->allocate_spi(peer.local.address, peer.remote.address);
  if (!spi) {
    transcript_.tell(node_, "IKE: {}", spi.error().message);
    return std::nullopt;
  }
  Child& child = peer.children[request.spi];
  child = {.at_client = request.spi, .at_dvipa = *spi};
  install(peer, child, ipsec::Direction::kInbound);
  const auto old = peer.children.find(request.replaces);
  if (old == peer.children.end()) {
    install_outbound(peer, child);
  } else {
    old->second.replaced = true;
    ++rekeys_;
  }
  peer.newest = request.spi;
  return IkeMessage{.spi = *spi};
}

bool SimIkeDaemon::expire(ike::SaName name, IpAddress, ike::Expiry expiry) {
  ++(expiry == ike::Expiry::kSoft ? soft_expiries_ : hard_expiries_);
  for (auto& [remote, peer] : peers_) {
    for (auto& [at_client, child] : peer.children) {
      if (name.spi != child.at_client && name.spi != child.at_dvipa) continue;
      if (!child.replaced) replace(peer, at_client);
      return true;
    }
  }
  return true;
}

void SimIkeDaemon::rekey(IpAddress client) {
  for (auto& [remote, peer] : peers_) {
    const auto newest = peer.children.find(peer.newest);
    if (remote.address == client && newest != peer.children.end() && !newest->second.replaced)
      replace(peer, peer.newest);
  }
}

// As initiator of a rekey.
void SimIkeDaemon::replace(Peer& peer, Spi at_client) {
  transcript_.tell(node_, "IKE: rekeying SPI {:#x}", at_client.value());
  peer.children.at(at_client).replaced = true;
  ++rekeys_;
  if (policy_.rekey_takes == Duration::zero()) return request_rekey(peer, at_client);
  executor_.run_after(policy_.rekey_takes, [this, &peer, at_client] { request_rekey(peer, at_client); });
}

void SimIkeDaemon::request_rekey(Peer& peer, Spi at_client) {
  const auto spi = events_->allocate_spi(peer.local.address, peer.remote.address);
  if (!spi) return transcript_.tell(node_, "IKE: {}", spi.error().message);
  peer.exchange->request({.operation = IkeMessage::Operation::kCreate, .spi = *spi, .replaces = at_client},
                         [this, &peer, at_client, at_dvipa = *spi](const IkeMessage& response) {
                           Child& child = peer.children[response.spi];
                           child = {.at_client = response.spi, .at_dvipa = at_dvipa};
                           install(peer, child, ipsec::Direction::kInbound);
                           install_outbound(peer, child);
                           peer.newest = response.spi;
                           peer.exchange->request(
                               {.operation = IkeMessage::Operation::kDelete, .spi = at_client},
                               [this, &peer, at_client](const IkeMessage&) { deleted(peer, at_client); });
                         });
}

// The old outbound SA goes at once, the inbound one after what may be under way has come.
void SimIkeDaemon::deleted(Peer& peer, Spi at_client) {
  if (const auto newest = peer.children.find(peer.newest); newest != peer.children.end())
    install_outbound(peer, newest->second);
  auto old = peer.children.extract(at_client);
  if (old.empty()) return;
  if (old.mapped().outbound) {
    if (auto done = events_->delete_sa({at_client, peer.remote.address}); !done)
      transcript_.tell(node_, "IKE: {}", done.error().message);
  }
  executor_.run_after(policy_.delete_delay, [this, &peer, child = old.mapped()] {
    if (auto done = events_->delete_sa({child.at_dvipa, peer.local.address}); !done)
      transcript_.tell(node_, "IKE: {}", done.error().message);
    if (auto done = events_->delete_policy(filters(peer)); !done)
      transcript_.tell(node_, "IKE: {}", done.error().message);
  });
}

std::string SimIkeDaemon::tunnel(const Peer& peer) const { return peer.remote.address.to_string() + "{1}"; }

void SimIkeDaemon::install(Peer& peer, const Child& child, ipsec::Direction direction) {
  const bool outbound = direction == ipsec::Direction::kOutbound;
  ipsec::SaParameters sa{
      .id = SaId(),
      .direction = direction,
      .spi = outbound ? child.at_client : child.at_dvipa,
      .local = peer.local.address,
      .remote = peer.remote.address,
      .udp_encapsulation = policy_.udp_encapsulation,
      .tunnel = tunnel(peer),
      .reqid = 1,
      .suite = policy_.suite,
      .key = child_key(policy_.seed, child.at_dvipa, child.at_client, outbound, policy_.suite),
      .esn = policy_.esn,
      .inner_esp = std::nullopt,
      .limits = policy_.limits,
  };
  const ike::SaName name = ike::name_of(sa);
  if (auto done = events_->add_sa(std::move(sa)); !done) {
    return transcript_.tell(node_, "IKE: {}", done.error().message);
  }
  if (outbound) {
    on_outbound_(name, policy_.suite);
  } else if (auto done = events_->add_policy(filters(peer)); !done) {
    transcript_.tell(node_, "IKE: {}", done.error().message);
  }
}

void SimIkeDaemon::install_outbound(Peer& peer, Child& child) {
  if (std::exchange(child.outbound, true)) return;
  install(peer, child, ipsec::Direction::kOutbound);
}

ike::Policy SimIkeDaemon::filters(const Peer& peer) const {
  ike::Policy policy{.dvipa = peer.local.address, .filters = {}};
  for (const bool outbound : {false, true}) {
    xcf::v1::Filter filter;
    const IpAddress source = outbound ? peer.local.address : peer.remote.address;
    const IpAddress destination = outbound ? peer.remote.address : peer.local.address;
    filter.set_outbound(outbound);
    filter.set_priority(1000);
    filter.set_action(xcf::v1::Filter::PROTECT);
    filter.set_tunnel(tunnel(peer));
    filter.set_source_first(source.to_bytes());
    filter.set_source_last(source.to_bytes());
    filter.set_destination_first(destination.to_bytes());
    filter.set_destination_last(destination.to_bytes());
    filter.set_source_port_last(65535);
    filter.set_destination_port_last(65535);
    policy.filters.push_back(filter);
  }
  return policy;
}

}  // namespace testudo::sim
