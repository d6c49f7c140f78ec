# SPDX-License-Identifier: Apache-2.0
"""The faults of tools/run_mutations.py: a name, a file, text that is in it exactly once and what takes its place, and
the checks that are tried, in this order."""
from typing import NamedTuple

SEQUENCER, LESSEE = "src/sequence/sequencer.cc", "src/sequence/lessee.cc"
COMMITS = "src/sequence/replay_commits.cc"
LEDGER, LEDGER_H = "src/distributor/replay_ledger.cc", "src/distributor/replay_ledger.h"
MEMORY, REPORT = "src/distributor/replay_memory.cc", "src/distributor/replay_report.cc"
JOURNAL, RECOVERY = "src/distributor/replay_journal.cc", "src/distributor/replay_recovery.cc"
TARGET = "src/target/inbound.cc"
WORKER, TAKEOVER = "src/path/worker.cc", "src/path/worker_takeover.cc"


class Mutation(NamedTuple):
    name: str
    file: str
    old: str
    new: str
    checks: tuple[str, ...]


MUTATIONS = [
    # ---- sequence leases ----
    Mutation("skip the ceiling", SEQUENCER, "sa->ceiling = std::min(last, sa->limit);", "sa->ceiling = sa->limit;",
             ("sim", "sequence")),
    Mutation("grant the last number again", SEQUENCER, "sa.next = SeqNo(last.value() + 1);", "sa.next = last;",
             ("sim", "sequence")),
    Mutation("reuse what a lease left over", SEQUENCER, "    lease.returned = true;\n",
             "    lease.returned = true;\n    if (sa.leases_count == 1) sa.next = lease.first;\n", ("sim", "sequence")),
    Mutation("span not limited", SEQUENCER, "if (used >= span) return 0;", "if (used >= 8 * span) return 0;",
             ("sim", "sequence")),
    Mutation("no skew guard", SEQUENCER, "lease.ends = std::min(lease.ends, now + config_.skew_guard);",
             "lease.ends = std::min(lease.ends, now);", ("sim", "sequence")),
    Mutation("exclusive beside another lease", SEQUENCER, "if (lease.holder != requester.lessee) return 0;\n  }\n  return std::clamp",
             "if (lease.holder != requester.lessee) break;\n  }\n  return std::clamp", ("sim", "sequence")),
    Mutation("sequencer ignores the epoch", SEQUENCER, "sa->parameters.epoch != head.epoch || ", "",
             ("sequence", "sim")),
    Mutation("forget a recall", LESSEE, "    if (lease.id != id) continue;\n    lease.stopped = true;",
             "    if (lease.id != id) continue;", ("sequence", "sim")),
    Mutation("deadline from the grant's arrival", LESSEE, "const Time asked = sa.request.sent_first;",
             "const Time asked = now;", ("sim", "sequence")),
    Mutation("the whole lease is used", LESSEE, "duration - duration / config_.margin_divisor;", "2 * duration;",
             ("sim", "sequence")),
    Mutation("any grant is taken for ours", LESSEE, "if (grant.id != sa.request.id || sa.leases[1].id != 0) return;",
             "if (sa.leases[1].id != 0) return;", ("sim", "sequence")),
    Mutation("leases outlive their owner", LESSEE, "  sa.leases = {};\n", "", ("sequence", "sim")),
    # ---- replay: owner and target ----
    Mutation("a forged number moves the window", LEDGER_H, "if (too_old(n) || far_ahead(n)) return;\n",
             "if (too_old(n)) return;\n  move_to(n);\n", ("sim", "distributor")),
    Mutation("pending is trusted elsewhere", LEDGER,
             "same = copy.node[number & 7] == node && copy", "same = copy.node[number & 7] == node || copy",
             ("sim", "distributor")),
    Mutation("a moved flow has two chances", LEDGER,
             ".flow[n & 7] == flow) return Replay::kReplay;",
             ".flow[n & 7] == 0) return Replay::kReplay;\n  static_cast<void>(flow);",
             ("sim", "distributor")),
    Mutation("rejected once frees two copies", LEDGER, "mask & block.pending() & ~block.again()", "mask & block.pending()",
             ("distributor", "sim")),
    Mutation("what was rejected is as new", LEDGER, "  block.again() |= freed;\n", "", ("distributor", "sim")),
    Mutation("what has no room is forgotten", LEDGER_H, "    block.seen() |= bit;\n", "", ("distributor", "sim")),
    Mutation("forwarded on trust without room", LEDGER_H,
             "seat_.memory().room() ? Replay::kForward : Replay::kAuthenticateFirst", "Replay::kForward",
             ("distributor", "sim")),
    Mutation("a new number has the bits of an old one", LEDGER, "    block.seen() &= ~fresh;\n", "", ("distributor", "sim")),
    Mutation("cleared before it leaves the window", LEDGER, "std::min(number | 63, end)", "(number | 63)",
             ("distributor", "sim")),
    Mutation("pending is forgotten at a death", MEMORY, "    block.seen() |= lost;\n", "", ("sim", "distributor")),
    Mutation("commit before the ICV", TARGET, "  if (request.authentic) {\n    // Two copies",
             "  if (request.authentic || request.drop) {\n    // Two copies", ("target",)),
    Mutation("two copies in one burst", TARGET,
             "    if (const auto reason = sa.replay().check(request.seq)) return drop(*reason);\n", "", ("target",)),
    Mutation("target ignores the epoch", TARGET, "dvipa->owner != member->node || !key.matches(dvipa->epoch)",
             "dvipa->owner != member->node", ("target",)),
    Mutation("rejected for the former owner", COMMITS, "block.rejected = 0;", "block.rejected |= 0;",
             ("sequence", "sim")),
    # ---- replay: takeover ----
    Mutation("a target reports its newest only", REPORT, "for (std::uint64_t n = report.floor.value() + 1; n <= newest",
             "for (std::uint64_t n = newest; n <= newest", ("sim", "distributor")),
    Mutation("a snapshot ends at the top", LEDGER, "n <= clean_; ++n)", "n <= std::min(clean_, top_); ++n)", ("distributor", "sim")),
    Mutation("merge forgets a survivor", RECOVERY, "  merge(windows_, report.windows);\n",
             "  if (windows_.empty()) merge(windows_, report.windows);\n", ("sim", "distributor")),
    Mutation("the record is left out", RECOVERY, "WindowReport known = record->second;",
             "WindowReport known{.sa = sa, .top = record->second.top, .floor = {}, .blocks = {}};",
             ("sim", "distributor")),
    Mutation("a witness that restarted will do", RECOVERY, "target.incarnation != report.from.incarnation", "false",
             ("sim", "distributor")),
    Mutation("a dead witness will do", RECOVERY, "if (missing_.contains(node)) lost_ = true;", "missing_.erase(node);",
             ("sim", "distributor")),
    Mutation("an old record will do", RECOVERY, "if (report.record_epoch != before_.epoch) lost_ = true;", "",
             ("distributor", "sim")),
    Mutation("struck off before the snapshot", JOURNAL, "    if (!is_safe(ticket)) targets.push_back(target);\n",
             "    if (!is_safe(ticket) && target.node == NodeId()) targets.push_back(target);\n", ("sim", "distributor")),
    Mutation("delivered before it is kept", JOURNAL,
             "return outstanding_.empty() || ticket < outstanding_.front().record.serial;", "return true;",
             ("sim", "distributor")),
    Mutation("the keeper ignores the fence", JOURNAL, "record.epoch < fence_ || ", "", ("distributor", "sim")),
    Mutation("forwarded before it is written", JOURNAL,
             "std::ranges::find(stored_.targets, target) != stored_.targets.end()", "true", ("sim", "distributor")),
    Mutation("forwarded while it is struck off", JOURNAL, "!in_doubt_.contains(target) && ", "", ("distributor", "sim")),
    Mutation("safe with two keepers in doubt", JOURNAL, "keeper_in_doubt_ |= witnesses.keeper != stored_.keeper;", "",
             ("distributor", "sim")),
    # ---- the data plane at a takeover ----
    Mutation("the owner delivers before its backup knows", TAKEOVER, "held->batch > command.batch",
             "held->batch > command.batch + 1", ("path",)),
    Mutation("what is handed on in the clear does not wait", WORKER, "if (holds(verdict.accepted)) {",
             "if (holds(verdict.accepted) && verdict.kind == Kind::kLocal) {", ("path",)),
    Mutation("an owner that follows goes on granting", TAKEOVER,
             "  for (const SaId id : all.sas) sequencer_.remove_sa(id);\n", "", ("path",)),
    Mutation("leases are still asked of the former owner", TAKEOVER,
             "  lessee_.set_owner(command.dvipa, command.epoch, command.owner);\n", "", ("path",)),
    Mutation("commits still go to the former owner", TAKEOVER,
             "  commits_.set_owner(command.dvipa, command.epoch, command.owner);\n", "", ("path",)),
    Mutation("a new owner forgets what it accepted as a target", TAKEOVER,
             "  command.known.merge(distributor::report_of(command.id, sa->replay()));\n", "", ("path",)),
]
