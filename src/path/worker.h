// SPDX-License-Identifier: Apache-2.0
// Worker: the data plane of one node. It takes bursts from its ports, runs them through the stages of the owner's
// and the target's roles, and hands bursts back: ports → stages → ports. Control reaches it through a command
// queue, and hears from it through an event queue; nothing else is shared.
//
//   path::Worker worker(config, {std::move(tun), std::move(raw), std::move(xcf_data), std::move(xcf_fast)},
//                       std::move(transforms), clock, commands, events);
//   for (;;) {
//     const path::Worker::Turn turn = worker.turn();
//     if (!turn.busy) sleep until a descriptor is readable, somebody wakes us, or turn.next_timer has come;
//   }
//
// Thread: the one that calls turn(). counters() may be read anywhere.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/drop.h"
#include "base/time.h"
#include "distributor/inbound.h"
#include "io/clock.h"
#include "io/port.h"
#include "ipsec/sad.h"
#include "ipsec/transforms.h"
#include "path/accepted_hold.h"
#include "path/messages.h"
#include "path/worker_counters.h"
#include "policy/flow_cache.h"
#include "sequence/lessee.h"
#include "sequence/replay_commits.h"
#include "sequence/sequencer.h"
#include "target/inbound.h"
#include "target/outbound.h"
#include "wire/fast.h"

namespace testudo::path {

struct WorkerConfig {
  NodeId self;
  std::uint32_t incarnation = 0;
  Endpoint xcf_data;  // this node's own: source of GRE
  Endpoint xcf_fast;  // source of fast messages
  distributor::InboundConfig owner_inbound;
  distributor::SipKey hash_key;
  target::InboundConfig target_inbound;
  target::OutboundConfig target_outbound;
  policy::FlowCacheConfig flows;
  sequence::SequencerConfig sequencer;
  sequence::LesseeConfig lessee;
  sequence::ReplayCommitsConfig commits;
  AcceptedHoldConfig accepted_hold;
};

/// Ports that live as long as the worker. Null: there is none.
struct WorkerPorts {
  std::unique_ptr<io::PacketPort> tun;
  std::unique_ptr<io::PacketPort> raw;
  std::unique_ptr<io::PacketPort> xcf_data;
  std::unique_ptr<io::PacketPort> xcf_fast;
};

class Worker final : private target::OutboundSink, private target::InboundSink {
 public:
  Worker(const WorkerConfig& config, WorkerPorts ports, std::unique_ptr<ipsec::Transforms> transforms,
         const io::Clock& clock, CommandQueue& commands, EventQueue& events);
  ~Worker();

  struct Turn {
    bool busy = false;              // something was done: turn again before sleeping
    Time next_timer = Time::max();  // when a turn is needed without other cause
  };
  /// One round: commands, every port once, timers, fast messages.
  Turn turn();

  /// Descriptors of all ports, to be waited on. Changes with SetDvipaPorts: generation() tells.
  [[nodiscard]] std::vector<int> descriptors() const;
  [[nodiscard]] std::uint64_t generation() const { return generation_; }
  [[nodiscard]] const WorkerCounters& counters() const { return counters_; }

 private:
  /// The sockets of one DVIPA.
  struct DvipaPorts {
    IpAddress dvipa;
    std::unique_ptr<io::PacketPort> ike;
    std::unique_ptr<io::PacketPort> nat_t;
  };
  using Burst = std::array<wire::Packet, wire::kBurst>;

  // What commands have still to do, in pieces. `next`: the first that is not done.
  struct Disowning {
    IpAddress dvipa;
    std::vector<SaId> sas;
    std::size_t next = 0, next_connection = 0;
  };
  struct Reporting {
    ReportWindows what;
    std::vector<SaId> sas;
    Windows answer = {};
    std::size_t next = 0;
  };
  struct Connecting {
    AddConnections what;
    std::size_t next = 0;
  };

  // worker_commands.cc: what control says
  bool apply_commands();
  void apply(InstallSa& command);
  void apply(RemoveSa& command);
  void apply(MoveSa& command);
  void apply(SetFilters& command);
  void apply(SetDistribution& command);
  void apply(SetDvipaPorts& command);
  void apply(SetCeiling& command);
  void apply(SendIke& command);
  void apply(ForgetNode& command);
  void apply(ListConnections& command);
  void apply(ListLeases& command);
  void apply(std::monostate&) {}
  void sequence(ipsec::Sa& sa, Epoch epoch, SeqNo first);

  // worker_takeover.cc: what it says when owners change
  void apply(FollowOwner& command);
  void apply(OwnSa& command);
  void apply(ReportWindows& command);
  void apply(AddConnections& command);
  void apply(HoldAccepted& command);
  void apply(Release& command);
  void own(IpAddress dvipa, Epoch epoch);
  [[nodiscard]] Disowning disown(IpAddress dvipa);
  [[nodiscard]] std::vector<SaId> sas_of(IpAddress dvipa) const;
  /// The next piece of the unfinished command. False: there was none.
  bool go_on();
  bool finish_some(std::monostate&) { return true; }
  bool finish_some(Disowning& disowning);
  bool finish_some(Reporting& reporting);
  bool finish_some(Connecting& connecting);
  [[nodiscard]] bool holds(const distributor::Dvipa* dvipa) const;
  void hold(const distributor::Verdict& verdict);
  void note_accepted();
  void tell_accepted();

  void emit(Event event);
  void send_events();
  void send_flow_records();
  void displace(std::unique_ptr<ipsec::Sa> sa);
  void retire(std::unique_ptr<ipsec::Sa> sa);

  // worker.cc: ports → stages → ports
  bool receive_dvipas();
  bool receive_raw();
  void act_on_cut(const wire::Packet& super_segment);
  bool receive_xcf();
  bool receive_tun();
  void act(std::span<const distributor::Verdict> verdicts, std::span<const wire::Packet> burst);
  void expect_answer(const distributor::Verdict& forwarded);
  void forward(const wire::Outgoing& out);
  void send_forwarded();
  void deliver_local(std::span<const std::uint8_t> packet);
  void send_local();

  // worker_fast.cc: leases and replay commits
  bool receive_fast();
  void handle_fast(std::span<const std::uint8_t> bytes, NodeId from);
  void handle_own(const wire::FastMessage& message);
  void run_timers();
  void send_fast();
  void sequencer_events();
  void learn_path_mtu(const distributor::PathMtuHint& hint);

  // target::OutboundSink, target::InboundSink
  Time now() override { return clock_.now(); }
  void send_protected(const ipsec::Sa& sa, std::span<const wire::Outgoing> train) override;
  void send_clear(std::span<const wire::Outgoing> packets) override;
  void send_xcf(std::span<const wire::Outgoing> packets) override;
  void deliver(std::span<const wire::Outgoing> packets) override;
  void reply(const wire::Packet& packet) override;
  void unknown_spi(IpAddress dvipa, Spi spi, IpAddress remote) override;

  DvipaPorts* ports_of(IpAddress dvipa);

  WorkerConfig config_;
  const io::Clock& clock_;
  WorkerPorts ports_;
  std::vector<DvipaPorts> dvipa_ports_;
  std::uint64_t generation_ = 0;
  std::unique_ptr<ipsec::Transforms> transforms_;
  CommandQueue& commands_;
  EventQueue& events_;
  std::deque<Event> unsent_events_;  // that the queue had no room for
  std::variant<std::monostate, Disowning, Reporting, Connecting> unfinished_;
  absl::flat_hash_map<IpAddress, Epoch> owned_;  // DVIPA → epoch of what is here of it as of an owned one

  DropCounters drops_;
  ipsec::Sad sad_;
  std::shared_ptr<const policy::FilterTable> filters_;
  std::shared_ptr<const distributor::Distribution> distribution_;
  policy::FlowLog flow_log_;
  policy::FlowCache flows_;
  sequence::Sequencer sequencer_;
  sequence::Lessee lessee_;
  sequence::ReplayCommits commits_;
  distributor::Inbound owner_inbound_;
  target::Inbound target_inbound_;
  target::Outbound target_outbound_;
  wire::FastOutbox outbox_;
  AcceptedHold accepted_hold_;
  std::vector<IpAddress> holding_;                  // DVIPAs
  OwnerAccepted accepted_{.batch = 1, .list = {}};  // of this turn; the next batch

  Time now_{};  // of this turn
  Burst burst_{};
  std::array<wire::Outgoing, wire::kBurst> forwarded_;
  std::size_t forwarded_count_ = 0;
  std::array<wire::Outgoing, wire::kBurst> local_;
  std::size_t local_count_ = 0;
  std::unique_ptr<std::uint8_t[]> cut_;  // wire::kBurst segments of a super-segment that came by the raw port
  WorkerCounters counters_;
};

}  // namespace testudo::path
