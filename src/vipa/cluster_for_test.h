// SPDX-License-Identifier: Apache-2.0
// Nodes with membership and ownership over the in-memory facility, in virtual time.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "facility/memory/memory_facility.h"
#include "facility/memory/memory_store.h"
#include "vipa/membership.h"
#include "vipa/ownership.h"

namespace testudo::vipa {

inline constexpr IpAddress kDvipa(0xc0000264);  // 192.0.2.100

/// Tasks in virtual time, in order of time and then of posting.
class VirtualExecutor final : public Executor {
 public:
  [[nodiscard]] Time now() const override { return now_; }
  void post(Task task) override { run_after(Duration(0), std::move(task)); }
  Timer run_after(Duration delay, Task task) override {
    tasks_[{now_ + delay, ++last_}] = std::move(task);
    return last_;
  }
  void cancel(Timer timer) override {
    std::erase_if(tasks_, [&](const auto& t) { return t.first.second == timer; });
  }
  void run_for(Duration span) {
    const Time end = now_ + span;
    while (!tasks_.empty() && tasks_.begin()->first.first <= end) {
      auto node = tasks_.extract(tasks_.begin());
      now_ = node.key().first;
      node.mapped()();
    }
    now_ = end;
  }

 private:
  Time now_{};
  Timer last_ = 0;
  std::map<std::pair<Time, Timer>, Task> tasks_;
};

/// One start of a node.
class Node {
 public:
  Node(facility::MemoryStore& store, Executor& executor, const std::string& name,
       const std::string& statements = "", std::function<void(const Acquired&)> renewed = {})
      : name_(name), facility_(store.connect(executor, name)) {
    Membership::Options member;
    member.cluster = "c1";
    member.self.name = name;
    member.self.xcf_address = IpAddress(0x0a4d0001);
    member.self.control_port = 4750;
    Ownership::Options own;
    own.cluster = "c1";
    ParsedDefinition parsed = parse_definition("VIPADYNAMIC " + statements + " ENDVIPADYNAMIC", name);
    CHECK(parsed.errors.empty());
    own.definition = parsed.definition;
    ownership_ = std::make_unique<Ownership>(
        *facility_, executor, own,
        OwnershipEvents{
            .became_owner =
                [this](const Acquired& acquired) {
                  log_.push_back("own");
                  acquired_.push_back(acquired);
                  epochs_.push_back(acquired.epoch);
                  owns_ = true;
                },
            .lost =
                [this](IpAddress, const std::string& reason) {
                  log_.push_back("lost: " + reason);
                  owns_ = false;
                },
            .changed = [](const DvipaState&) {},
            .note = [this](const std::string& line) { notes_.push_back(line); },
            .renewed = std::move(renewed),
            .ask =
                [this](const std::string& to, const Ask& ask) {
                  if (send_ask_) send_ask_(to, ask);
                },
            .promise =
                [this](const std::string& to, const Promise& promise) {
                  if (send_promise_) send_promise_(to, promise);
                },
            .move_ready = [this](IpAddress, const std::string& to) { log_.push_back("ready to move to " + to); },
            .move_failed = [this](IpAddress, const std::string& why) { log_.push_back("move failed: " + why); },
            .move_wanted = [this](IpAddress,
                                  const std::string& owner) { log_.push_back("wants it from " + owner); }});
    membership_ = std::make_unique<Membership>(
        *facility_, executor, member,
        MembershipEvents{.ready =
                             [this](const Identity& me) {
                               log_.push_back(fmt::format("ready {}", me.id.value()));
                               ownership_->start(me);
                             },
                         .session_lost = [this] { ownership_->session_lost(); },
                         .failed = [this](const Error& e) { log_.push_back("failed: " + e.message); },
                         .joined = [this](const MemberRecord& m) { log_.push_back("joined " + m.name); },
                         .left = [this](const std::string& n) { log_.push_back("left " + n); },
                         .note = [this](const std::string& line) { notes_.push_back(line); }});
    membership_->start();
  }

  std::string name_;
  std::function<void(const std::string&, const Ask&)> send_ask_;
  std::function<void(const std::string&, const Promise&)> send_promise_;
  std::unique_ptr<facility::Facility> facility_;
  std::unique_ptr<Ownership> ownership_;
  std::unique_ptr<Membership> membership_;
  std::vector<std::string> log_, notes_;
  std::vector<Acquired> acquired_;
  std::vector<Epoch> epochs_;
  bool owns_ = false;
};

inline const char* const kOwns =
    "VIPADEFINE 255.255.255.0 192.0.2.100 VIPADISTRIBUTE 192.0.2.100 PORT 80 DESTIP ALL";

struct Cluster : testing::Test {
  VirtualExecutor executor;
  facility::MemoryStore store{executor, {.latency = 1ms}};
  std::unique_ptr<Node> start(const std::string& name, const std::string& statements = "",
                              std::function<void(const Acquired&)> renewed = {}) {
    auto node = std::make_unique<Node>(store, executor, name, statements, std::move(renewed));
    executor.run_for(100ms);
    return node;
  }
};

inline const char* const kHigh = "VIPABACKUP 200 192.0.2.100";
inline const char* const kLow = "VIPABACKUP 10 192.0.2.100";

/// With what a failure detector would say.
struct SuspiciousCluster : Cluster {
  void suspect(const std::vector<Node*>& by, const std::set<std::string>& dead, Duration span) {
    for (Duration t{}; t < span; t += 50ms) {
      for (Node* node : by) node->ownership_->suspect(dead);
      executor.run_for(50ms);
    }
  }
  [[nodiscard]] std::string owner_by(const Node& node) const {
    const auto state = node.ownership_->dvipa(kDvipa);
    return state && state->owner ? state->owner->node : "nobody";
  }
};

}  // namespace testudo::vipa
