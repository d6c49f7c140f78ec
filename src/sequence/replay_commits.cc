// SPDX-License-Identifier: Apache-2.0
#include "sequence/replay_commits.h"

#include <algorithm>
#include <span>

#include "base/check.h"

namespace testudo::sequence {

ReplayCommits::ReplayCommits(NodeId self, std::uint32_t incarnation, const ReplayCommitsConfig& config)
    : self_(self), incarnation_(incarnation), config_(config) {
  sas_.reserve(config.sas_max);
  free_.reserve(config.sas_max);
  index_.reserve(config.sas_max);
  timers_.reserve(config.sas_max);
}

void ReplayCommits::add_sa(SaId id, const CommittedSa& parameters) {
  CHECK(!index_.contains(id));
  if (free_.empty()) {
    free_.push_back(static_cast<std::uint32_t>(sas_.size()));
    sas_.emplace_back();
  }
  const std::uint32_t index = free_.back();
  free_.pop_back();
  index_.emplace(id, index);
  sas_[index] = Sa{};
  sas_[index].id = id;
  sas_[index].present = true;
  sas_[index].parameters = parameters;
}

void ReplayCommits::remove_sa(SaId id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  const std::uint32_t index = found->second;
  index_.erase(found);
  timers_.clear(index);
  sas_[index].present = false;
  free_.push_back(index);
}

void ReplayCommits::set_owner(IpAddress dvipa, Epoch epoch, NodeId owner) {
  for (Sa& sa : sas_) {
    if (sa.present && sa.parameters.dvipa == dvipa) follow(sa, epoch, owner);
  }
}

void ReplayCommits::set_owner(SaId id, Epoch epoch, NodeId owner) {
  const auto found = index_.find(id);
  if (found != index_.end()) follow(sas_[found->second], epoch, owner);
}

void ReplayCommits::follow(Sa& sa, Epoch epoch, NodeId owner) {
  sa.parameters.epoch = epoch;
  sa.parameters.owner = owner;
  // What was rejected, the former owner had forwarded. The new one may forward another packet with that number, and
  // must not take this for its fate.
  for (Block& block : std::span(sa.blocks).first(sa.blocks_count)) block.rejected = 0;
}

void ReplayCommits::note(SaId id, SeqNo number, bool accepted, Time now) {
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  Sa& sa = sas_[found->second];
  Block* block = block_of(sa, number.value() & ~std::uint64_t{63});
  if (block == nullptr) return;  // stays pending at the owner
  (accepted ? block->accepted : block->rejected) |= std::uint64_t{1} << (number.value() & 63);
  if (++sa.noted == 1) timers_.set(found->second, now + config_.delay_max);
  if (sa.noted >= std::max(1u, sa.parameters.window / 8)) timers_.set(found->second, Time::min());
}

ReplayCommits::Block* ReplayCommits::block_of(Sa& sa, std::uint64_t base) {
  const auto blocks = std::span(sa.blocks).first(sa.blocks_count);
  const auto found = std::ranges::find(blocks, base, &Block::base);
  if (found != blocks.end()) return &*found;
  if (sa.blocks_count == kBlocks) return nullptr;
  Block& block = sa.blocks[sa.blocks_count++];
  block = {.base = base};
  return &block;
}

void ReplayCommits::poll(Time now, wire::FastOutbox& out) {
  while (timers_.earliest() <= now) send(sas_[timers_.pop()], out);
}

void ReplayCommits::send(Sa& sa, wire::FastOutbox& out) {
  const wire::FastHeader header{.type = wire::ReplayCommit::kType,
                                .sender = self_,
                                .incarnation = incarnation_,
                                .dvipa = sa.parameters.dvipa,
                                .epoch = sa.parameters.epoch};
  for (const Block& block : std::span(sa.blocks).first(sa.blocks_count)) {
    out.append(sa.parameters.owner, header,
               wire::ReplayCommit{
                   .sa = sa.id, .base = SeqNo(block.base), .accepted = block.accepted, .rejected = block.rejected});
  }
  sa.blocks_count = 0;
  sa.noted = 0;
}

}  // namespace testudo::sequence
