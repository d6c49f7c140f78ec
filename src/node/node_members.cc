// SPDX-License-Identifier: Apache-2.0
// What a node hears from the other members, and who of them is dead.
#include "node/node.h"
#include "xcf/address_field.h"
#include "xcf/hello.h"

namespace testudo::node {

xcf::BusEvents Node::bus_events() {
  return {
      .up = [this](const xcf::v1::Hello& hello) { link_up(hello); },
      .down = [this](const std::string& node, const std::string& reason) { link_down(node, reason); },
      .received = [this](const std::string& node, const xcf::v1::Envelope& message) { received(node, message); },
      .refused = [this](
                     const std::string& who,
                     const std::string& reason) { world_.log.error("XCF link with {} refused: {}", who, reason); }};
}

void Node::link_up(const xcf::v1::Hello& hello) {
  world_.log.info("XCF link with {} is up", hello.node());
  detector_->link_up(hello.node(), world_.executor.now());
  links_[hello.node()] = {.hello = hello, .since = world_.executor.now()};
  owner_->link_up(hello);
  shadow_->link_up(hello.node());
  succession_->link_up(xcf::number_of(hello));
  succession_->members_changed();
  publish_soon();
}

void Node::link_down(const std::string& node, const std::string& reason) {
  const auto found = links_.find(node);
  if (found == links_.end()) return;
  world_.log.warning("XCF link with {} is down: {}", node, reason);
  const NodeId id = xcf::number_of(found->second.hello);
  links_.erase(found);
  owner_->link_down(node);
  world_.plane.submit(path::ForgetNode{.node = id});
  succession_->members_changed();
  publish_soon();
  detector_->link_down(node, world_.executor.now());
  beat();  // the others wait for it
}

// ---- who is dead ----

void Node::members_changed() {
  if (!detector_) return;
  vipa::FailureDetector::Names names;
  for (const auto& [name, record] : membership_.members()) names.insert(name);
  detector_->members(names, world_.executor.now());
}

void Node::beat() {
  const Time now = world_.executor.now();
  xcf::v1::Envelope envelope;
  xcf::v1::Heartbeat& heartbeat = *envelope.mutable_heartbeat();
  heartbeat.set_number(++beats_);
  for (const std::string& name : detector_->silent(now)) heartbeat.add_silent(name);
  for (const auto& [name, link] : links_) world_.bus.send(name, envelope);
  ownership_.suspect(detector_->dead(now));
  succession_->members_changed();  // a keeper may have fallen silent
}

void Node::heard(const std::string& node, const xcf::v1::Heartbeat& heartbeat) {
  const Time now = world_.executor.now();
  detector_->heard(node, {heartbeat.silent().begin(), heartbeat.silent().end()}, now);
  if (heartbeat.silent_size() > 0) ownership_.suspect(detector_->dead(now));
}

void Node::received(const std::string& node, const xcf::v1::Envelope& message) {
  const auto found = links_.find(node);
  if (found == links_.end()) return;
  const xcf::v1::Hello& from = found->second.hello;
  switch (message.message_case()) {
    case xcf::v1::Envelope::kVipaList:
      return shadow_->vipa_list(from, message.vipa_list());
    case xcf::v1::Envelope::kInstall:
      return shadow_->install(from, message.install());
    case xcf::v1::Envelope::kRefused:
      return shadow_->refused(node, message.refused());
    case xcf::v1::Envelope::kListener:
      return owner_->listener(node, xcf::number_of(from), message.listener());
    case xcf::v1::Envelope::kAck:
      return owner_->acknowledged(node, message.ack());
    case xcf::v1::Envelope::kPull:
      return owner_->pull(node, message.pull());
    case xcf::v1::Envelope::kLifesize:
      return owner_->lifesize_report(node, message.lifesize());
    case xcf::v1::Envelope::kLifesizeGrant:
      return shadow_->granted(from, message.lifesize_grant());
    case xcf::v1::Envelope::kReplayRecord:
      return replay_record(from, message.replay_record());
    case xcf::v1::Envelope::kReplayRecordAck:
      return replay_->acknowledged(xcf::number_of(from), message.replay_record_ack());
    case xcf::v1::Envelope::kTakeoverQuery:
      return takeover_query(from, message.takeover_query());
    case xcf::v1::Envelope::kTakeoverReport:
      return succession_->report(from, message.takeover_report());
    case xcf::v1::Envelope::kHeartbeat:
      return heard(node, message.heartbeat());
    case xcf::v1::Envelope::kMoveRequest:
      return moves_->asked(node, message.move_request());
    case xcf::v1::Envelope::kHello:
    case xcf::v1::Envelope::MESSAGE_NOT_SET:
      return;
  }
}

// Both are of the owner that this node knows, or of the past: epochs never go back.
void Node::replay_record(const xcf::v1::Hello& from, const xcf::v1::ReplayRecord& record) {
  const IpAddress address = xcf::address_of(record.dvipa());
  if (shadow_->follows(address, from.node(), Epoch(record.epoch()))) witness_->record(from, record);
}

void Node::takeover_query(const xcf::v1::Hello& from, const xcf::v1::TakeoverQuery& query) {
  const IpAddress address = xcf::address_of(query.dvipa());
  if (!shadow_->follows(address, from.node(), Epoch(query.epoch()))) return;
  publish();  // the worker refuses the former owner before it tells its windows
  witness_->query(from, query);
}

const xcf::v1::Hello* Node::link(const std::string& node) const {
  const auto found = links_.find(node);
  return found == links_.end() ? nullptr : &found->second.hello;
}

const xcf::v1::Hello* Node::link(NodeId node) const {
  for (const auto& [name, link] : links_) {
    if (link.hello.node_id() == node.value()) return &link.hello;
  }
  return nullptr;
}

}  // namespace testudo::node
