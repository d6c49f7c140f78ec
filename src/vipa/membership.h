// SPDX-License-Identifier: Apache-2.0
// Membership: how a node joins its cluster through the coupling facility, and how it learns who else is there.
// Opens the session, draws an incarnation number, claims the node's name for the session, finds its permanent node
// id, then watches the members. Runs on the node's Executor alone.
//
//   vipa::Membership membership(facility, executor, {.cluster = "c1", .self = {.name = "t1", …}, .session_ttl =
//   10s}, {
//       .ready = [](const vipa::Identity& me) { … start ownership, bus and worker … },
//       .joined = [](const vipa::MemberRecord& m) { bus.add_member(…); }, …});
//   membership.start();
//
// Keys, under /testudo/CLUSTER/:
//   incarnation     decimal count of starts: the 24-bit head of every AEAD IV of a start (spec E5)
//   members/NAME    MemberRecord, with the session. Who finds it taken waits one TTL for a crashed predecessor's to
//   vanish node-ids/ID     NAME. Never deleted: a name keeps its id
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "base/address.h"
#include "base/executor.h"
#include "base/result.h"
#include "base/strong.h"
#include "facility/facility.h"

namespace testudo::vipa {

/// "/testudo/CLUSTER/"; every key of a cluster begins with it.
[[nodiscard]] std::string key_prefix(const std::string& cluster);

/// The most starts of nodes in a cluster's life: incarnations have 24 bits (RFC 6054 splits the IV among senders
/// so).
inline constexpr std::uint32_t kIncarnationMax = (1U << 24) - 1;

/// A member as members/NAME holds it (JSON).
struct MemberRecord {
  std::string name;
  NodeId id;  // 0 while the node is still finding its id
  IpAddress xcf_address;
  std::uint16_t control_port = 0;  // TCP: control stream
  std::uint16_t data_port = 0;     // UDP: GRE
  std::uint16_t fast_port = 0;     // UDP: leases and replay commits
  std::uint32_t incarnation = 0;   // of this start
  std::uint32_t session = 0;       // counts the sessions that this start has opened, from 1

  [[nodiscard]] std::string to_json() const;
  static Result<MemberRecord> from_json(const std::string& text);
  friend bool operator==(const MemberRecord&, const MemberRecord&) = default;
};

/// What a node knows of itself once it is a member.
struct Identity {
  std::string name;
  NodeId id;
  std::uint32_t incarnation = 0;  // 1 … kIncarnationMax; no other start in the cluster has it
  std::uint32_t session = 0;      // which session of this start; grows when one was lost and another opened
};

struct MembershipEvents {
  /// The node is a member. Again, with the same id and incarnation, after a lost session has been replaced.
  std::function<void(const Identity&)> ready;
  /// The session ended: this node's keys are gone. What stands on them (ownership) must stop before this returns. A
  /// new session is opened at once; ready() follows.
  std::function<void()> session_lost;
  /// It will never be a member: "a node named X is already running at 10.77.0.2:4750", incarnations used up.
  std::function<void(const Error&)> failed;
  /// A member (not this node) has come, or its record has changed.
  std::function<void(const MemberRecord&)> joined;
  std::function<void(const std::string& name)> left;
  /// One line for the log: waiting for a predecessor's key, facility out of reach, an unreadable record.
  std::function<void(const std::string& line)> note;
};

class Membership {
 public:
  struct Options {
    std::string cluster;
    MemberRecord self;  // name, address and ports; the rest is found out
    Duration session_ttl = std::chrono::seconds(10);
    Duration retry = std::chrono::milliseconds(500);  // after the facility did not answer
  };

  Membership(facility::Facility& facility, Executor& executor, Options options, MembershipEvents events);
  Membership(const Membership&) = delete;
  Membership& operator=(const Membership&) = delete;
  ~Membership();

  void start();
  /// Orderly leave: the session is closed and all its keys vanish now.
  void leave();

  /// Members but this node, by name.
  [[nodiscard]] const std::map<std::string, MemberRecord>& members() const { return members_; }
  [[nodiscard]] const std::optional<Identity>& identity() const { return identity_; }

 private:
  // The steps, in order; each starts the next one from its callback.
  void open_session();
  void draw_incarnation();
  void advance_incarnation(std::uint32_t incarnation, facility::Revision expected);
  void claim_name();
  void name_taken(const facility::Entry& holder);
  void find_id();
  void take_id(NodeId id);
  void publish();

  void on_session_lost();
  void on_member_event(const facility::Event& event);
  void give_up(std::string message);
  void retry(const std::string& what, const Error& error, void (Membership::*step)());
  void later(Duration delay, void (Membership::*step)());
  /// Wraps a callback so that it does nothing once this object, or the session it was for, is gone.
  template <typename T>
  facility::Facility::Callback<T> guarded(std::function<void(Result<T>)> then);
  [[nodiscard]] std::string key(const std::string& rest) const { return prefix_ + rest; }

  facility::Facility& facility_;
  Executor& executor_;
  Options options_;
  MembershipEvents events_;
  std::string prefix_;
  MemberRecord self_;
  facility::Revision self_revision_;   // of members/NAME, once claimed
  std::optional<Time> waiting_since_;  // for a predecessor's key to vanish
  std::optional<Identity> identity_;
  std::map<std::string, MemberRecord> members_;
  bool watching_ = false;
  bool stopped_ = false;
  std::shared_ptr<std::uint32_t> generation_;  // of callbacks; grows with each session
};

}  // namespace testudo::vipa
