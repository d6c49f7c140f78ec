// SPDX-License-Identifier: Apache-2.0
#include "policy/rule_trie.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace testudo::policy {
namespace {

constexpr auto by_rank = [](const Rule& a, const Rule& b) { return a.rank < b.rank; };

AddressRange remote_of(const Rule& rule) { return {rule.box.remote_first, rule.box.remote_last}; }

}  // namespace

std::uint64_t RuleTrie::hash_of(IpAddress network, std::uint8_t length) {
  std::uint64_t x = network.high() * 0x9e3779b97f4a7c15 + network.low() + length;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;  // splitmix64
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

std::uint64_t RuleTrie::hash_of(const Rule& rule) {
  return hash_of(rule.box.remote_first, static_cast<std::uint8_t>(remote_of(rule).prefix_length()));
}

/// Null: no prefix, or a wide one (such networks contain most others), or too many lengths are in use.
RuleTrie::Length* RuleTrie::length_for(const Rule& rule) {
  const int bits = remote_of(rule).prefix_length();
  const int full = rule.box.remote_first.bits();
  if (bits == full) return &lengths_.front();
  if (bits < full / 4) return nullptr;
  Length* free = nullptr;
  for (std::size_t i = 1; i < lengths_.size(); ++i) {
    if (lengths_[i].rules != 0 && lengths_[i].bits == bits) return &lengths_[i];
    if (lengths_[i].rules == 0 && free == nullptr) free = &lengths_[i];
  }
  return free;
}

bool RuleTrie::insert(const Rule& rule) {
  Length* length = length_for(rule);
  if (length == nullptr) return false;
  bool done = false;
  Slot changed = with(root_, rule, hash_of(rule), 0, done);
  if (!done) return false;
  root_ = std::move(changed);
  length->bits = static_cast<std::uint8_t>(remote_of(rule).prefix_length());
  ++length->rules;
  ++size_;
  return true;
}

bool RuleTrie::erase(const Rule& rule) {
  Length* length = length_for(rule);
  if (length == nullptr || length->rules == 0) return false;
  bool done = false;
  Slot changed = without(root_, rule, hash_of(rule), 0, done);
  if (!done) return false;
  root_ = std::move(changed);
  --length->rules;
  --size_;
  return true;
}

RuleTrie::Slot RuleTrie::leaf_of(std::span<const Rule> rules) {
  if (rules.empty()) return {};
  auto copy = std::make_shared<Rule[]>(rules.size());
  std::ranges::copy(rules, copy.get());
  const Rule* first = copy.get();
  Slot slot;
  slot.node = std::shared_ptr<const void>(std::move(copy), first);
  slot.rules = static_cast<std::uint8_t>(rules.size());
  std::ranges::transform(rules, slot.tags.begin(), [](const Rule& rule) { return tag(hash_of(rule)); });
  return slot;
}

RuleTrie::Slot RuleTrie::branch_of(Branch branch) {
  Slot slot;
  slot.node = std::make_shared<const Branch>(std::move(branch));
  slot.is_branch = true;
  return slot;
}

RuleTrie::Slot RuleTrie::with(const Slot& slot, const Rule& rule, std::uint64_t hash, unsigned depth, bool& done) {
  if (slot.is_branch) {
    Slot below = with(slot.branch().slots[digit(hash, depth)], rule, hash, depth + 1, done);
    if (!done) return slot;
    Branch branch = slot.branch();
    branch.slots[digit(hash, depth)] = std::move(below);
    return branch_of(std::move(branch));
  }
  const auto alike = [&](const Rule& r) { return remote_of(r) == remote_of(rule); };
  if (std::ranges::count_if(slot.leaf(), alike) == kAlikeMax) return slot;
  if (slot.leaf().size() == kLeafMax) {
    return depth == kDepthMax ? slot : with(divided(slot.leaf(), depth), rule, hash, depth, done);
  }
  std::vector<Rule> rules(slot.leaf().begin(), slot.leaf().end());
  rules.insert(std::ranges::upper_bound(rules, rule, by_rank), rule);
  done = true;
  return leaf_of(rules);
}

/// The leaf's rules in a branch. At least two of them have another prefix than the others: there are more than
/// kAlikeMax.
RuleTrie::Slot RuleTrie::divided(std::span<const Rule> leaf, unsigned depth) {
  std::array<std::vector<Rule>, kFanOut> leaves;
  for (const Rule& rule : leaf) leaves[digit(hash_of(rule), depth)].push_back(rule);  // they stay in order
  Branch branch;
  for (std::size_t i = 0; i < kFanOut; ++i) branch.slots[i] = leaf_of(leaves[i]);
  return branch_of(std::move(branch));
}

/// Branches stay when they have become empty: at most one path per rule that ever was here at one time.
RuleTrie::Slot RuleTrie::without(const Slot& slot, const Rule& rule, std::uint64_t hash, unsigned depth,
                                 bool& done) {
  if (slot.is_branch) {
    Slot below = without(slot.branch().slots[digit(hash, depth)], rule, hash, depth + 1, done);
    if (!done) return slot;
    Branch branch = slot.branch();
    branch.slots[digit(hash, depth)] = std::move(below);
    return branch_of(std::move(branch));
  }
  std::vector<Rule> rules(slot.leaf().begin(), slot.leaf().end());
  done = std::erase(rules, rule) != 0;
  return leaf_of(rules);
}

void RuleTrie::find(const Point& point, const Rule*& best) const {
  for (const Length& length : lengths_) {
    if (length.rules == 0) continue;
    const std::uint64_t hash = hash_of(point.remote.masked(length.bits), length.bits);
    const Slot* slot = &root_;
    for (unsigned depth = 0; slot->is_branch; ++depth) slot = &slot->branch().slots[digit(hash, depth)];
    for (std::size_t i = 0; i < slot->rules; ++i) {
      if (slot->tags[i] != tag(hash)) continue;
      const Rule& rule = slot->leaf()[i];
      if (best != nullptr && best->rank < rule.rank) break;
      if (!rule.box.contains(point)) continue;
      best = &rule;
      break;
    }
  }
}

}  // namespace testudo::policy
