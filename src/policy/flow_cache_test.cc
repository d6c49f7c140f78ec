// SPDX-License-Identifier: Apache-2.0
#include "policy/flow_cache.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace testudo::policy {
namespace {

using What = FlowRecord::What;

class FlowCacheTest : public testing::Test {
 protected:
  static constexpr FlowPacket kSyn{.begins = true, .closes = false, .bytes = 60};
  static constexpr FlowPacket kData{.begins = false, .closes = false, .bytes = 1000};
  static constexpr FlowPacket kFin{.begins = false, .closes = true, .bytes = 52};

  static Filter filter(Action action, bool log) {
    Filter f;
    f.id = 7;
    f.action = action;
    f.log = log;
    f.source = f.destination = *AddressRange::parse("0.0.0.0/0");
    return f;
  }
  void use(const std::vector<Filter>& filters) {
    table_ = FilterTable(filters, names_);
    table_.set_generation(++generation_);
  }
  static Flow flow(std::uint16_t port) { return {IpAddress(1), IpAddress(2), wire::kProtocolTcp, true, port, 80}; }
  std::optional<Drop> decide(std::uint16_t port, const FlowPacket& packet) {
    const FlowKey key{flow(port), {}, Direction::kInbound};
    const auto judge = [&] {
      ++judged_;
      return judge_clear(table_, key.flow);
    };
    return cache_.decide(key, packet, table_, now_, judge).drop;
  }
  /// For two seconds.
  void age() {
    for (int i = 0; i < 20; ++i) cache_.age(now_ += 100ms);
  }
  /// "begins 1, ends 1 (3 packets, 100 bytes), dropped 2": by client port.
  std::string records() {
    std::string text;
    for (FlowRecord r; log_.take(r);) {
      if (!text.empty()) text += ", ";
      text += r.what == What::kBegins ? "begins " : r.what == What::kEnds ? "ends " : "dropped ";
      text += std::to_string(r.flow.source_port);
      if (r.what == What::kEnds)
        text += " (" + std::to_string(r.packets) + " packets, " + std::to_string(r.bytes) + " bytes)";
      EXPECT_EQ(r.rule.id, r.what == What::kEnds ? 0u : 7u);
    }
    return text;
  }

  ipsec::TunnelNames names_;
  FilterTable table_;
  FlowLog log_;
  FlowCache cache_{{.flows = 64}, log_};
  Time now_{Duration(1h)};
  std::uint64_t generation_ = 1;
  int judged_ = 0;
};

TEST_F(FlowCacheTest, AsksOncePerFlowAndAgainWhenTheFiltersChange) {
  use({filter(Action::kPermit, false)});
  for (int i = 0; i < 10; ++i) EXPECT_EQ(decide(1, kData), std::nullopt);
  EXPECT_EQ(judged_, 1);
  EXPECT_EQ(decide(2, kData), std::nullopt);
  EXPECT_EQ(judged_, 2);
  use({filter(Action::kDeny, false)});
  EXPECT_EQ(decide(1, kData), Drop::kFilterDenied);
  EXPECT_EQ(decide(1, kData), Drop::kFilterDenied);
  EXPECT_EQ(judged_, 3);
  EXPECT_EQ(records(), "");
}

TEST_F(FlowCacheTest, DirectionAndTunnelArePartOfTheFlow) {
  use({filter(Action::kPermit, false)});
  const FlowKey keys[] = {{flow(1), {}, Direction::kInbound},
                          {flow(1), {}, Direction::kOutbound},
                          {flow(1), ipsec::TunnelId(1), Direction::kInbound}};
  int asked = 0;
  for (const FlowKey& key : keys)
    cache_.decide(key, kData, table_, now_, [&] { return ++asked, judge_clear(table_, key.flow); });
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(cache_.size(), 3u);
}

TEST_F(FlowCacheTest, LogsWhereAConnectionBeginsAndEnds) {
  use({filter(Action::kPermit, true)});
  decide(1, kSyn);
  decide(1, kSyn);  // again
  decide(1, kData);
  decide(2, kData);  // the answer to somebody else's SYN
  EXPECT_EQ(records(), "begins 1");
  now_ += 5min - 2s;
  age();
  EXPECT_EQ(records(), "");
  EXPECT_LT(cache_.next_timer(), now_ + 1s);
  age();
  EXPECT_EQ(records(), "ends 1 (3 packets, 1120 bytes)");
  EXPECT_EQ(cache_.next_timer(), Time::max());
}

TEST_F(FlowCacheTest, AfterFinItEndsSoonOrWithTheNextSyn) {
  use({filter(Action::kPermit, true)});
  for (const auto& packet : {kSyn, kFin}) decide(1, packet), decide(2, packet);
  decide(2, kSyn);
  EXPECT_EQ(records(), "begins 1, begins 2, ends 2 (2 packets, 112 bytes), begins 2");
  now_ += 11s;
  age();
  EXPECT_EQ(records(), "ends 1 (2 packets, 112 bytes)");
}

TEST_F(FlowCacheTest, AChangeOfFiltersEndsWhatItForbids) {
  use({filter(Action::kPermit, true)});
  decide(1, kSyn);
  use({filter(Action::kPermit, true)});
  decide(1, kData);
  EXPECT_EQ(records(), "begins 1");  // the same connection
  use({filter(Action::kDeny, true)});
  decide(1, kData);
  decide(1, kData);
  EXPECT_EQ(records(), "ends 1 (2 packets, 1060 bytes), dropped 1");
}

TEST_F(FlowCacheTest, IsBounded) {
  use({filter(Action::kPermit, true)});
  for (std::uint16_t port = 1; port <= 1000; ++port) decide(port, kSyn);
  EXPECT_LE(cache_.size(), 64u);
  int begins = 0, ends = 0;
  std::uint64_t left_out = 0;
  for (FlowRecord r; log_.take(r);) {
    (r.what == What::kBegins ? begins : ends) += 1;
    left_out += r.left_out;
  }
  EXPECT_EQ(begins + ends, static_cast<int>(FlowLog::kRecords));
  EXPECT_EQ(left_out, 0u);
  decide(2000, kSyn);
  FlowRecord r;
  ASSERT_TRUE(log_.take(r));
  EXPECT_GT(r.left_out, 1000u);
}

TEST_F(FlowCacheTest, AFloodOfDropsIsCutShort) {
  use({filter(Action::kDeny, true)});
  for (std::uint16_t port = 1; port <= 200; ++port) decide(port, kSyn);
  int lines = 0;
  for (FlowRecord r; log_.take(r);) ++lines;
  EXPECT_EQ(lines, static_cast<int>(FlowLog::kDropsAtOnce));
  now_ += 1s;
  for (std::uint16_t port = 201; port <= 400; ++port) decide(port, kSyn);
  FlowRecord first;
  ASSERT_TRUE(log_.take(first));
  EXPECT_EQ(first.left_out, 150u);
  lines = 1;
  for (FlowRecord r; log_.take(r);) ++lines;
  EXPECT_EQ(lines, static_cast<int>(FlowLog::kDropsPerSecond));
}

// Whatever is forgotten meanwhile: the answer is the table's.
RC_GTEST_PROP(FlowCache, SaysWhatTheTableSays, ()) {
  ipsec::TunnelNames names;
  FlowLog log;
  FlowCache cache({.flows = 16}, log);
  FilterTable table;
  std::uint64_t generation = 1;
  for (int step = 0; step < 300; ++step) {
    const auto port = *rc::gen::inRange<std::uint16_t>(1, 40);
    if (*rc::gen::inRange(0, 10) == 0) {
      Filter f;
      f.action = *rc::gen::element(Action::kPermit, Action::kDeny, Action::kProtect);
      f.log = true;
      f.source = f.destination = *AddressRange::parse("0.0.0.0/0");
      f.source_ports = {port, 40};
      table = FilterTable(std::span(&f, 1), names);
      table.set_generation(++generation);
    }
    const FlowKey key{{IpAddress(1), IpAddress(2), wire::kProtocolUdp, true, port, 1}, {}, Direction::kInbound};
    const Judgement expected = judge_clear(table, key.flow);
    const Decision decision =
        cache.decide(key, {.begins = true, .closes = *rc::gen::arbitrary<bool>(), .bytes = 1}, table,
                     Time(std::chrono::seconds(step)), [&] { return judge_clear(table, key.flow); });
    RC_ASSERT(decision.drop == expected.drop);
    RC_ASSERT(decision.action == (expected.rule == nullptr ? Action::kDeny : expected.rule->action));
    cache.age(Time(std::chrono::seconds(step)));
  }
}

}  // namespace
}  // namespace testudo::policy
