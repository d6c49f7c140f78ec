// SPDX-License-Identifier: Apache-2.0
// RuleTree: rules with any ranges. A treap of boxes: rules are ordered by where their boxes begin, and each node
// knows the box around all rules below it and the best rank among them, so that a search skips every part of the
// tree that cannot match or cannot win. Persistent: a change copies the nodes on one path, O(log n); former copies
// of the tree stay as they were and share the rest.
//
//   RuleTree tree;                       // control
//   tree.insert(rule);
//   const RuleTree snapshot = tree;      // a pointer
//   tree.erase(rule);
//   const Rule* best = nullptr;          // worker: no allocation, no lock, no reference count
//   snapshot.find(point, best);
//
// A search looks at O(log n) nodes when few rules overlap; rules that all overlap are looked at in the order of
// their ranks, roughly, until one matches. Not measured against adversaries: filters come from the operator and
// from IKE.
#pragma once

#include <cstddef>
#include <memory>

#include "policy/rule.h"

namespace testudo::policy {

class RuleTree {
 public:
  /// No equal rank may be in it. Threads: control, as erase() and all that copies or destroys.
  void insert(const Rule& rule);
  /// False: it was not there.
  bool erase(const Rule& rule);

  /// Sets `best` to the rule with the smallest rank that contains the point, unless `best` has a smaller one.
  void find(const Point& point, const Rule*& best) const;

  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Node;
  using Ref = std::shared_ptr<const Node>;
  struct Halves;
  static Ref make(const Node& of, Ref left, Ref right);
  static Ref insert(const Ref& node, const Node& added);
  static Halves split(const Ref& node, const Rule& at);
  static Ref merge(const Ref& left, const Ref& right);
  static Ref erase(const Ref& node, const Rule& rule);
  static void find(const Node& node, const Point& point, const Rule*& best);

  Ref root_;
  std::size_t size_ = 0;
};

}  // namespace testudo::policy
