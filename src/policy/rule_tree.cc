// SPDX-License-Identifier: Apache-2.0
#include "policy/rule_tree.h"

#include <tuple>
#include <utility>

#include "base/check.h"

namespace testudo::policy {
namespace {

/// Rules that begin close to each other become neighbours: then the boxes around a few of them are small.
bool comes_before(const Rule& a, const Rule& b) {
  const auto place = [](const Rule& r) {
    const Box& x = r.box;
    return std::tie(x.remote_first, x.local_first, x.protocol_first, x.local_port_first, x.remote_port_first,
                    r.rank);
  };
  return place(a) < place(b);
}

/// The treap's weight: scrambled, so that the tree's depth does not depend on the order in which rules come and go.
std::uint64_t weight_of(const Rank& rank) {
  std::uint64_t x = rank.id ^ rank.dvipa.low() << 20 ^ rank.dvipa.high() ^ std::uint64_t{rank.priority} << 44;
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;  // splitmix64
  x = (x ^ x >> 27) * 0x94d049bb133111eb;
  return x ^ x >> 31;
}

}  // namespace

struct RuleTree::Node {
  explicit Node(const Rule& r) : best(r.rank), around(r.box), weight(weight_of(r.rank)), rule(r) {}

  Rank best;  // of the rules from here down
  Ref left, right;
  Box around;            // all rules from here down
  IpAddress left_last;   // the last peer's address on the left: says whether to look there without looking there
  std::uint64_t weight;  // not below the children's
  Rule rule;
};

struct RuleTree::Halves {
  Ref left, right;
};

RuleTree::Ref RuleTree::make(const Node& of, Ref left, Ref right) {
  auto node = std::make_shared<Node>(of.rule);
  for (const Ref* child : {&left, &right}) {
    if (*child == nullptr) continue;
    node->best = std::min(node->best, (*child)->best);
    node->around.include((*child)->around);
  }
  if (left != nullptr) node->left_last = left->around.remote_last;
  node->left = std::move(left);
  node->right = std::move(right);
  return node;
}

RuleTree::Ref RuleTree::insert(const Ref& node, const Node& added) {
  if (node == nullptr || added.weight > node->weight) {
    Halves halves = split(node, added.rule);
    return make(added, std::move(halves.left), std::move(halves.right));
  }
  if (comes_before(added.rule, node->rule)) return make(*node, insert(node->left, added), node->right);
  return make(*node, node->left, insert(node->right, added));
}

/// What comes before the rule, and the others.
RuleTree::Halves RuleTree::split(const Ref& node, const Rule& at) {
  if (node == nullptr) return {};
  if (comes_before(node->rule, at)) {
    Halves below = split(node->right, at);
    return {make(*node, node->left, std::move(below.left)), std::move(below.right)};
  }
  Halves below = split(node->left, at);
  return {std::move(below.left), make(*node, std::move(below.right), node->right)};
}

RuleTree::Ref RuleTree::merge(const Ref& left, const Ref& right) {
  if (left == nullptr) return right;
  if (right == nullptr) return left;
  if (left->weight > right->weight) return make(*left, left->left, merge(left->right, right));
  return make(*right, merge(left, right->left), right->right);
}

/// The same node if the rule is not there.
RuleTree::Ref RuleTree::erase(const Ref& node, const Rule& rule) {
  if (node == nullptr) return node;
  if (node->rule == rule) return merge(node->left, node->right);
  const bool to_left = comes_before(rule, node->rule);
  const Ref& child = to_left ? node->left : node->right;
  Ref changed = erase(child, rule);
  if (changed == child) return node;
  return to_left ? make(*node, std::move(changed), node->right) : make(*node, node->left, std::move(changed));
}

void RuleTree::insert(const Rule& rule) {
  root_ = insert(root_, Node(rule));
  ++size_;
}

bool RuleTree::erase(const Rule& rule) {
  Ref changed = erase(root_, rule);
  if (changed == root_) return false;
  root_ = std::move(changed);
  --size_;
  return true;
}

void RuleTree::find(const Node& node, const Point& point, const Rule*& best) {
  if (best != nullptr && best->rank < node.best) return;
  if (!node.around.contains(point)) return;
  // Rules on the right begin where this one does, or behind it.
  const Node* first = point.remote <= node.left_last ? node.left.get() : nullptr;
  const Node* second = node.rule.box.remote_first <= point.remote ? node.right.get() : nullptr;
  for (const Node* next : {first, second}) __builtin_prefetch(next);
  if (node.rule.box.contains(point) && (best == nullptr || node.rule.rank < best->rank)) best = &node.rule;
  if (first != nullptr && second != nullptr && second->best < first->best) std::swap(first, second);
  if (first != nullptr) find(*first, point, best);
  if (second != nullptr) find(*second, point, best);
}

void RuleTree::find(const Point& point, const Rule*& best) const {
  if (root_ != nullptr) find(*root_, point, best);
}

}  // namespace testudo::policy
