// SPDX-License-Identifier: Apache-2.0
#include "sim/network.h"

#include <algorithm>

#include "wire/ipv4.h"

namespace testudo::sim {

bool Network::chance(double probability) {
  return probability > 0 && static_cast<double>(rng_.next() >> 11) < probability * 9007199254740992.0;
}

Duration Network::up_to(Duration limit) {
  return Duration(rng_.next() % (static_cast<std::uint64_t>(limit.count()) + 1));
}

void Network::attach(const std::string& name, Host host) { hosts_[name] = {++lives_, std::move(host)}; }

void Network::detach(const std::string& name) { hosts_.erase(name); }

void Network::calm() {
  for (PathQuality* quality : {&options_.to_client, &options_.to_dvipa, &options_.xcf})
    quality->loss = quality->duplication = quality->reordering = 0;
}

const PathQuality& Network::quality(const std::string& to, bool xcf) const {
  if (xcf) return options_.xcf;
  return to.starts_with("client") ? options_.to_client : options_.to_dvipa;
}

void Network::arrive_at(Time when, const std::string& from, const std::string& to, bool xcf,
                        const Deliver& deliver) {
  const auto host = hosts_.find(to);
  if (host == hosts_.end()) return;
  time_.at(when, [this, to, life = host->second.first, xcf, from, deliver] {
    const auto found = hosts_.find(to);
    if (found == hosts_.end() || found->second.first != life) return;
    if (xcf && (isolated_.contains(from) || isolated_.contains(to))) return;
    deliver(found->second.second);
  });
}

void Network::carry(const std::string& from, const std::string& to, bool xcf, const char* what,
                    const Deliver& deliver) {
  const PathQuality& path = quality(to, xcf);
  if (chance(path.loss)) return transcript_.tell(from, "{} to {}: lost", what, to);
  Duration delay = path.delay + up_to(path.jitter);
  if (!path.in_order && chance(path.reordering)) delay += up_to(10 * path.jitter);
  Time when = time_.now() + delay;
  if (path.in_order) {
    Time& last = last_arrival_[{from, to}];
    when = last = std::max(when, last);
  }
  arrive_at(when, from, to, xcf, deliver);
  if (!chance(path.duplication)) return;
  transcript_.tell(from, "{} to {}: doubled", what, to);
  arrive_at(when + up_to(10 * path.jitter), from, to, xcf, deliver);
}

void Network::send_udp(const std::string& from, Endpoint source, Endpoint destination, Bytes payload) {
  const std::string& to = lan_[destination.address];
  if (to.empty()) return transcript_.tell(from, "nobody answers for {}", destination.to_string());
  carry(from, to, false, "UDP", [source, destination, payload = std::move(payload)](const Host& host) {
    host.udp(source, destination, payload);
  });
}

void Network::send_ip(const std::string& from, Bytes packet) {
  const auto ip = wire::parse_ipv4(packet);
  if (!ip) return transcript_.tell(from, "sent no IPv4 packet");
  const std::string& to = lan_[ip->destination()];
  if (to.empty()) return transcript_.tell(from, "nobody answers for {}", ip->destination().to_string());
  carry(from, to, false, "IP", [packet = std::move(packet)](const Host& host) { host.ip(packet); });
}

void Network::send_xcf(const std::string& from, Endpoint source, Endpoint destination, Bytes payload) {
  const auto to = xcf_.find(destination.address);
  if (to == xcf_.end()) return transcript_.tell(from, "no member at {}", destination.to_string());
  carry(from, to->second, true, "XCF", [source, destination, payload = std::move(payload)](const Host& host) {
    host.xcf(source, destination, payload);
  });
}

}  // namespace testudo::sim
