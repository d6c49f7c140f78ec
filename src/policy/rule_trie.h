// SPDX-License-Identifier: Apache-2.0
// RuleTrie: rules for one peer each, or for one network: those whose remote side is a prefix. A trie over the bits
// of the prefix's hash, whose leaves hold a handful of rules, best one first. Persistent like RuleTree: a change
// copies the few nodes on its way.
//
//   RuleTrie trie;
//   if (!trie.insert(rule)) tree.insert(rule);   // not every rule fits: too many alike, too many prefix lengths
//   trie.find(point, best);
//
// A search follows one path for each prefix length that occurs, of kLengthsMax at most.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "policy/rule.h"

namespace testudo::policy {

class RuleTrie {
 public:
  /// False: it is not for here. Threads: control, as erase() and all that copies or destroys.
  bool insert(const Rule& rule);
  /// False: it was not there.
  bool erase(const Rule& rule);

  /// As RuleTree::find().
  void find(const Point& point, const Rule*& best) const;

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static constexpr std::size_t kFanOut = 16;
  static constexpr unsigned kDepthMax = 12;    // of 16 digits that the hash has
  static constexpr std::size_t kLeafMax = 16;  // rules
  static constexpr std::size_t kAlikeMax = 8;  // rules with one prefix: they cannot be told apart by the hash
  static constexpr std::size_t kLengthsMax = 4;

  struct Branch;
  /// A branch or a leaf, or nothing.
  struct Slot {
    std::shared_ptr<const void> node;  // a Branch, or the first of the leaf's rules, by rank
    std::uint8_t rules = 0;            // of a leaf
    bool is_branch = false;
    std::array<std::uint8_t, kLeafMax> tags{};  // of the leaf's rules: few are looked at in vain

    [[nodiscard]] const Branch& branch() const { return *static_cast<const Branch*>(node.get()); }
    [[nodiscard]] std::span<const Rule> leaf() const { return {static_cast<const Rule*>(node.get()), rules}; }
  };
  struct Branch {
    std::array<Slot, kFanOut> slots;
  };
  struct Length {
    std::uint8_t bits = 0;
    std::uint32_t rules = 0;  // 0: a free place
  };

  static std::uint64_t hash_of(IpAddress network, std::uint8_t length);
  static std::uint64_t hash_of(const Rule& rule);
  static std::size_t digit(std::uint64_t hash, unsigned depth) { return hash >> (4 * depth) & (kFanOut - 1); }
  static std::uint8_t tag(std::uint64_t hash) { return static_cast<std::uint8_t>(hash >> 4 * kDepthMax); }
  static Slot with(const Slot& slot, const Rule& rule, std::uint64_t hash, unsigned depth, bool& done);
  static Slot without(const Slot& slot, const Rule& rule, std::uint64_t hash, unsigned depth, bool& done);
  static Slot leaf_of(std::span<const Rule> rules);
  static Slot branch_of(Branch branch);
  static Slot divided(std::span<const Rule> leaf, unsigned depth);
  Length* length_for(const Rule& rule);

  Slot root_;
  std::array<Length, kLengthsMax> lengths_;  // the first is kept for single addresses
  std::size_t size_ = 0;
};

}  // namespace testudo::policy
