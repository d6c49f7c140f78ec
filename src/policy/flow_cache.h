// SPDX-License-Identifier: Apache-2.0
// FlowCache: what the filters have said about the flows that are on their way, so that they are asked once per flow
// and not once per packet, and so that the log knows where a connection begins and ends (spec D3).
//
//   FlowCache flows({}, log);
//   const Decision d = flows.decide({flow, sa->tunnel(), Direction::kInbound}, {.begins = syn, .bytes = size},
//                                   *table, now, [&] { return judge_protected(*table, inner, flow, sa->tunnel());
//                                   });
//   if (d.drop) return drop(*d.drop);
//   flows.age(now);                                                       // each turn, and at next_timer()
//
// Bounded: where there is no room the flow that was silent for the longest is forgotten, and asked about again. A
// flow whose answer comes of another generation of the filters is asked about again, too. What depends on more than
// the flow must not be asked here: ICMP errors. Thread: one worker. Nothing allocates but the constructor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/drop.h"
#include "base/time.h"
#include "ipsec/tunnel.h"
#include "policy/filter_table.h"
#include "policy/flow_log.h"
#include "policy/inbound_check.h"

namespace testudo::policy {

struct FlowKey {
  Flow flow;
  ipsec::TunnelId tunnel;  // by which it came; none: in the clear, or outbound
  Direction direction = Direction::kInbound;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

/// What a packet tells beyond its flow.
struct FlowPacket {
  bool begins = false;  // a connection may begin with it: TCP's first SYN, or any packet where there are no SYNs
  bool closes = false;  // FIN or RST
  std::size_t bytes = 0;

  static FlowPacket of(const wire::IpView& ip);
};

struct Decision {
  std::optional<Drop> drop;       // nothing: let it pass
  Action action = Action::kDeny;  // what the rule wants
  ipsec::TunnelId tunnel;         // with kProtect

  static Decision of(const Judgement& judgement);
};

struct FlowCacheConfig {
  std::size_t flows = 1 << 14;              // a power of two, at least 4
  Duration idle_timeout = 5min;             // then a flow has ended
  Duration closing_timeout = 10s;           // of silence after FIN or RST
  std::uint64_t seed = 0x9e3779b97f4a7c15;  // of the hash: outsiders choose addresses and ports
};

class FlowCache {
 public:
  FlowCache(const FlowCacheConfig& config, FlowLog& log);

  /// `judge` returns a Judgement; it is called when nothing is known of the flow, or only from other filters.
  template <typename Judge>
  Decision decide(const FlowKey& key, const FlowPacket& packet, const FilterTable& table, Time now, Judge&& judge) {
    Entry& entry = place_of(key, now);
    if (entry.closing && packet.begins) end(entry);  // another connection with the same ports
    if (entry.generation != table.generation()) learn(entry, judge(), packet, table, now);
    note(entry, packet, now);
    return entry.decision;
  }

  /// Forgets flows that have been silent for too long, if any of them is logged: a part of them at a time, each
  /// flow within two seconds. The others are forgotten when there is no room.
  void age(Time now);
  [[nodiscard]] Time next_timer() const { return logged_ == 0 ? Time::max() : next_age_; }

  /// Flows that are known.
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kWays = 4;
  struct Entry {
    FlowKey key;
    std::uint64_t generation = 0;  // of the filters that the decision comes of; 0: a free place, or none yet
    Decision decision;
    bool used = false, logged = false, closing = false;
    Time last_seen{};
    std::uint64_t packets = 0, bytes = 0;
  };

  [[nodiscard]] std::size_t set_of(const FlowKey& key) const;
  Entry& place_of(const FlowKey& key, Time now);
  void learn(Entry& entry, const Judgement& judgement, const FlowPacket& packet, const FilterTable& table,
             Time now);
  void note(Entry& entry, const FlowPacket& packet, Time now);
  void end(Entry& entry);
  void forget(Entry& entry);

  FlowCacheConfig config_;
  FlowLog& log_;
  std::vector<Entry> entries_;
  std::size_t size_ = 0;
  std::size_t logged_ = 0;     // of them
  std::size_t age_place_ = 0;  // where age() goes on
  Time next_age_{};
};

}  // namespace testudo::policy
