// SPDX-License-Identifier: Apache-2.0
#include "node/witness_role.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "node/window_message.h"
#include "xcf/address_field.h"

namespace testudo::node {

using distributor::ReplayRecord;
using distributor::WindowReport;

namespace {

/// The part that comes next is of the same record.
bool continues(const ReplayRecord& record, const xcf::v1::ReplayRecord& part) {
  return record.epoch == Epoch(part.epoch()) && record.copy == part.copy() && record.serial == part.serial();
}

void add(WindowMessages* to, const std::vector<WindowReport>& from, std::size_t& next, std::size_t& room) {
  for (; next < from.size() && room > 0; ++next, --room) *to->Add() = window_to_message(from[next]);
}

std::vector<WindowReport> list_of(const distributor::WindowReports& reports) {
  std::vector<WindowReport> list;
  for (const auto& [sa, report] : reports) list.push_back(report);
  return list;
}

}  // namespace

// ---- the keeper ----

void WitnessRole::record(const xcf::v1::Hello& from, const xcf::v1::ReplayRecord& message) {
  auto windows = windows_from_message(message.windows());
  if (!windows) return parts_.log.warning("{} sent a bad record: {}", from.node(), windows.error().message);
  Kept& kept = kept_[xcf::address_of(message.dvipa())];
  if (!continues(kept.incoming, message)) {
    kept.incoming = {.epoch = Epoch(message.epoch()),
                     .copy = message.copy(),
                     .serial = message.serial(),
                     .whole = message.whole(),
                     .windows = {}};
  }
  std::ranges::move(*windows, std::back_inserter(kept.incoming.windows));
  if (!message.last()) return;
  const ReplayRecord record = std::exchange(kept.incoming, {});
  if (!kept.keeper.keep(record)) return;
  xcf::v1::Envelope envelope;
  xcf::v1::ReplayRecordAck& ack = *envelope.mutable_replay_record_ack();
  ack.set_dvipa(message.dvipa());
  ack.set_epoch(message.epoch());
  ack.set_copy(message.copy());
  ack.set_serial(message.serial());
  parts_.bus.send(from.node(), envelope);
}

void WitnessRole::forget(IpAddress dvipa, SaId sa) {
  const auto found = kept_.find(dvipa);
  if (found != kept_.end()) found->second.keeper.forget(sa);
}

// ---- a takeover ----

void WitnessRole::collect(IpAddress dvipa, Epoch epoch, std::function<void(Report)> done) {
  kept_[dvipa].keeper.fence(epoch);
  parts_.windows.ask(dvipa, path::ReportWindows::Of::kTarget,
                     [this, dvipa, done = std::move(done)](std::vector<WindowReport> windows) {
                       const distributor::ReplayKeeper& keeper = kept_[dvipa].keeper;
                       done({.replay = {.from = parts_.self,
                                        .windows = std::move(windows),
                                        .record_epoch = keeper.epoch(),
                                        .record = list_of(keeper.windows())},
                             .connections = connections(dvipa)});
                     });
}

std::vector<path::AddConnections::One> WitnessRole::connections(IpAddress dvipa) const {
  const auto found = parts_.host.connections(parts_.tun, {&dvipa, 1});
  if (!found) {
    parts_.log.error("cannot see which connections {} has here: {}", dvipa.to_string(), found.error().message);
    return {};
  }
  std::vector<path::AddConnections::One> list;
  for (const io::TcpConnection& one : *found) list.push_back({.remote = one.remote, .local_port = one.local.port});
  return list;
}

void WitnessRole::query(const xcf::v1::Hello& from, const xcf::v1::TakeoverQuery& message) {
  const IpAddress dvipa = xcf::address_of(message.dvipa());
  collect(dvipa, Epoch(message.epoch()),
          [this, dvipa, node = from.node(), epoch = Epoch(message.epoch())](const Report& report) {
            answer(node, dvipa, epoch, report);
          });
}

void WitnessRole::answer(const std::string& node, IpAddress dvipa, Epoch epoch, const Report& report) {
  std::size_t window = 0, recorded = 0, connection = 0;
  bool last = false;
  while (!last) {
    xcf::v1::Envelope envelope;
    xcf::v1::TakeoverReport& part = *envelope.mutable_takeover_report();
    part.set_dvipa(dvipa.to_bytes());
    part.set_epoch(epoch.value());
    part.set_record_epoch(report.replay.record_epoch.value());
    std::size_t room = kWindowsPerMessage;
    add(part.mutable_windows(), report.replay.windows, window, room);
    add(part.mutable_record(), report.replay.record, recorded, room);
    for (; connection < report.connections.size() && room > 0; ++connection, --room) {
      xcf::v1::Connection& one = *part.add_connections();
      one.set_remote(report.connections[connection].remote.address.to_bytes());
      one.set_remote_port(report.connections[connection].remote.port);
      one.set_local_port(report.connections[connection].local_port);
    }
    last = window == report.replay.windows.size() && recorded == report.replay.record.size() &&
           connection == report.connections.size();
    part.set_last(last);
    if (!parts_.bus.send(node, envelope)) return;  // the link is down: asked again when it is up
  }
}

}  // namespace testudo::node
