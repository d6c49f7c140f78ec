// SPDX-License-Identifier: Apache-2.0
#include "policy/rule_trie.h"

#include <algorithm>
#include <utility>

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

RuleTrie::Slot RuleTrie::with(const Slot& slot, const Rule& rule, std::uint64_t hash, unsigned depth, bool& done) {
  if (slot.branch != nullptr) {
    auto branch = std::make_shared<Branch>(*slot.branch);
    Slot& below = branch->slots[digit(hash, depth)];
    below = with(below, rule, hash, depth + 1, done);
    return {.branch = std::move(branch), .leaf = nullptr};
  }
  auto leaf = slot.leaf == nullptr ? std::make_shared<Leaf>() : std::make_shared<Leaf>(*slot.leaf);
  const auto alike = [&](const Rule& r) { return remote_of(r) == remote_of(rule); };
  if (std::ranges::count_if(leaf->rules, alike) == kAlikeMax) return slot;
  if (leaf->rules.size() == kLeafMax) {
    return depth == kDepthMax ? slot : with(divided(*leaf, depth), rule, hash, depth, done);
  }
  leaf->rules.insert(std::ranges::upper_bound(leaf->rules, rule, by_rank), rule);
  done = true;
  return {.branch = nullptr, .leaf = std::move(leaf)};
}

/// The leaf's rules in a branch. At least two of them have another prefix than the others: there are more than
/// kAlikeMax.
RuleTrie::Slot RuleTrie::divided(const Leaf& leaf, unsigned depth) {
  std::array<std::shared_ptr<Leaf>, kFanOut> leaves;
  for (const Rule& rule : leaf.rules) {  // they stay in order
    auto& below = leaves[digit(hash_of(rule), depth)];
    if (below == nullptr) below = std::make_shared<Leaf>();
    below->rules.push_back(rule);
  }
  auto branch = std::make_shared<Branch>();
  for (std::size_t i = 0; i < kFanOut; ++i) branch->slots[i].leaf = std::move(leaves[i]);
  return {.branch = std::move(branch), .leaf = nullptr};
}

/// Branches stay when they have become empty: at most one path per rule that ever was here at one time.
RuleTrie::Slot RuleTrie::without(const Slot& slot, const Rule& rule, std::uint64_t hash, unsigned depth,
                                 bool& done) {
  if (slot.branch != nullptr) {
    Slot below = without(slot.branch->slots[digit(hash, depth)], rule, hash, depth + 1, done);
    if (!done) return slot;
    auto branch = std::make_shared<Branch>(*slot.branch);
    branch->slots[digit(hash, depth)] = std::move(below);
    return {.branch = std::move(branch), .leaf = nullptr};
  }
  if (slot.leaf == nullptr) return slot;
  auto leaf = std::make_shared<Leaf>(*slot.leaf);
  done = std::erase(leaf->rules, rule) != 0;
  if (leaf->rules.empty()) leaf = nullptr;
  return {.branch = nullptr, .leaf = std::move(leaf)};
}

void RuleTrie::find(const Point& point, const Rule*& best) const {
  for (const Length& length : lengths_) {
    if (length.rules == 0) continue;
    const std::uint64_t hash = hash_of(point.remote.masked(length.bits), length.bits);
    const Slot* slot = &root_;
    for (unsigned depth = 0; slot->branch != nullptr; ++depth) slot = &slot->branch->slots[digit(hash, depth)];
    if (slot->leaf == nullptr) continue;
    for (const Rule& rule : slot->leaf->rules) {
      if (best != nullptr && best->rank < rule.rank) break;
      if (!rule.box.contains(point)) continue;
      best = &rule;
      break;
    }
  }
}

}  // namespace testudo::policy
