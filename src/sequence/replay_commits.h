// SPDX-License-Identifier: Apache-2.0
// ReplayCommits: a target's reports to the owner of what became of the packets it was forwarded (spec C5). After
// the ICV and its own replay window have judged a packet, the target notes the result here; the results leave in
// batches, at the latest after an eighth of the SA's replay window or a few milliseconds.
//
//   commits.add_sa(sa, {.dvipa = d, .epoch = e, .owner = n, .window = 32});
//   commits.accepted(sa, seq, now);   // ICV right, first time: delivered
//   commits.rejected(sa, seq, now);   // ICV wrong. Not for a replay that the target's own window refused.
//   commits.poll(now, outbox);        // once a turn
//
// A lost report is safe: the owner keeps the number as pending at this node. Thread: one worker.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/address.h"
#include "base/strong.h"
#include "base/time.h"
#include "sequence/deadlines.h"
#include "wire/fast.h"

namespace testudo::sequence {

struct CommittedSa {
  IpAddress dvipa;
  Epoch epoch;
  NodeId owner;
  std::uint32_t window = 32;  // numbers; our replay window for this inbound SA
};

struct ReplayCommitsConfig {
  Duration delay_max = 5ms;    // from the first result to its report
  std::size_t sas_max = 4096;  // SAs for which memory is taken at the start
};

class ReplayCommits {
 public:
  ReplayCommits(NodeId self, std::uint32_t incarnation, const ReplayCommitsConfig& config);

  void add_sa(SaId sa, const CommittedSa& parameters);
  void remove_sa(SaId sa);
  /// Takeover: reports about the DVIPA's SAs go to `owner` from now on, of what was accepted. What the former owner
  /// had forwarded and was rejected is forgotten.
  void set_owner(IpAddress dvipa, Epoch epoch, NodeId owner);
  /// The same of one SA.
  void set_owner(SaId sa, Epoch epoch, NodeId owner);

  void accepted(SaId sa, SeqNo number, Time now) { note(sa, number, true, now); }
  void rejected(SaId sa, SeqNo number, Time now) { note(sa, number, false, now); }

  void poll(Time now, wire::FastOutbox& out);
  [[nodiscard]] Time next_timer() const { return timers_.earliest(); }

 private:
  static constexpr std::size_t kBlocks = 20;  // of 64 numbers: a ledger's window of 1024 and some

  struct Block {
    std::uint64_t base = 0;  // a multiple of 64
    std::uint64_t accepted = 0;
    std::uint64_t rejected = 0;
  };
  struct Sa {
    SaId id;
    bool present = false;
    CommittedSa parameters;
    std::uint32_t noted = 0;  // results that wait
    std::uint32_t blocks_count = 0;
    std::array<Block, kBlocks> blocks;
  };

  static void follow(Sa& sa, Epoch epoch, NodeId owner);
  void note(SaId sa, SeqNo number, bool accepted, Time now);
  [[nodiscard]] static Block* block_of(Sa& sa, std::uint64_t base);
  void send(Sa& sa, wire::FastOutbox& out);

  NodeId self_;
  std::uint32_t incarnation_;
  ReplayCommitsConfig config_;
  std::vector<Sa> sas_;
  std::vector<std::uint32_t> free_;
  absl::flat_hash_map<SaId, std::uint32_t> index_;  // look-up only: its order never matters
  Deadlines timers_;                                // by index in sas_
};

}  // namespace testudo::sequence
