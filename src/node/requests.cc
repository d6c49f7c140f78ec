// SPDX-License-Identifier: Apache-2.0
// What a node is asked over its control socket.
#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "node/diagnostic_json.h"
#include "node/manual_file.h"
#include "node/node.h"
#include "node/report.h"

namespace testudo::node {

void Node::answer(const ControlSocket::Request& request, Reply reply) {
  const Report report(*this);
  const std::string& command = request.command;
  if (command == "status") return reply(report.status());
  if (command == "counters") return reply(report.counters());
  if (command == "events") return reply(report.events());
  const bool running = world_.plane.counters() != nullptr;
  if (command == "connections") {
    if (!running) return reply(report.connections({}));
    want_connections_.push_back([this, reply](const auto& list) { reply(Report(*this).connections(list)); });
    return world_.plane.submit(path::ListConnections{});
  }
  if (command == "sa") {
    if (!running) return reply(report.sa({}));
    want_leases_.push_back([this, reply](const auto& list) { reply(Report(*this).sa(list)); });
    return world_.plane.submit(path::ListLeases{});
  }
  if (command == "dvipa move") return move_dvipa(request, reply);
  if (command == "drain") return drain(request, reply);
  if (command != "sa load" && command != "sa unload") {
    return reply({{"error", fmt::format("unknown command '{}': status, sa, sa load, sa unload, dvipa move, drain, "
                                        "connections, counters or events",
                                        command)}});
  }
  // A group that may look does not give keys, and has no file opened for it that only root may read.
  if (!request.privileged) return reply({{"error", "only root loads and unloads SAs"}});
  const auto file = request.arguments.find("file");
  if (file == request.arguments.end() || !file->is_string() ||
      !file->get_ref<const std::string&>().starts_with('/'))
    return reply({{"error", "an absolute path is expected: {\"command\": \"sa load\", \"file\": \"/…\"}"}});
  if (!manual_) return reply({{"error", "this node is not a member of the cluster yet: try again"}});
  if (command == "sa load") return load_manual_sas(*file, std::move(reply));
  unload_manual_sas(*file, reply);
}

namespace {

std::string text_of(const ControlSocket::Request& request, const char* name) {
  const auto found = request.arguments.find(name);
  return found != request.arguments.end() && found->is_string() ? found->get<std::string>() : "";
}

}  // namespace

void Node::move_dvipa(const ControlSocket::Request& request, const Reply& reply) {
  if (!request.privileged) return reply({{"error", "only root moves DVIPAs"}});
  const std::string to = text_of(request, "to");
  const auto address = IpAddress::parse(text_of(request, "dvipa"));
  if (!address || to.empty()) {
    return reply({{"error",
                   "address and node are expected: {\"command\": \"dvipa move\", \"dvipa\": \"192.0.2.100\", "
                   "\"to\": \"backup\"}"}});
  }
  const auto state = ownership_.dvipa(*address);
  if (!moves_ || !state || !state->owner)
    return reply({{"error", fmt::format("{} has no owner that this node knows", address->to_string())}});
  const std::string& owner = state->owner->node;
  if (state->role == vipa::Role::kOwner) {
    if (const auto begun = moves_->move(*address, to); !begun) return reply({{"error", begun.error().message}});
  } else if (!moves_->ask(*address, owner, to)) {
    return reply({{"error", fmt::format("the XCF link to its owner, {}, is down: ask there", owner)}});
  }
  reply({{"dvipa", address->to_string()}, {"from", owner}, {"to", to}});
}

void Node::drain(const ControlSocket::Request& request, const Reply& reply) {
  if (!request.privileged) return reply({{"error", "only root drains a node"}});
  nlohmann::json moving = nlohmann::json::array();
  nlohmann::json staying = nlohmann::json::array();
  for (const vipa::DvipaState& state : ownership_.dvipas()) {
    if (state.role != vipa::Role::kOwner || !moves_) continue;
    const std::string dvipa = state.address.to_string();
    const auto to = ownership_.best_backup(state.address);
    const Result<void> begun = to ? moves_->move(state.address, *to) : fail("it has no live backup");
    if (begun) {
      moving.push_back({{"dvipa", dvipa}, {"to", *to}});
    } else {
      staying.push_back({{"dvipa", dvipa}, {"reason", begun.error().message}});
    }
  }
  reply({{"moving", std::move(moving)}, {"staying", std::move(staying)}});
}

void Node::load_manual_sas(const std::string& file, Reply reply) {
  LoadedManualFile loaded = load_manual_file(file, &config_.definition);
  if (!loaded.errors.empty()) {
    return reply(
        {{"error", fmt::format("{}: nothing of it is loaded", file)}, {"errors", errors_json(loaded.errors)}});
  }
  manual_->load(std::move(loaded.file), [file, reply = std::move(reply)](const Result<ManualSas::Loaded>& done) {
    if (!done) return reply({{"error", fmt::format("{}: {}", file, done.error().message)}});
    reply({{"file", file},
           {"installed", done->installed},
           {"kept", done->kept},
           {"removed", done->removed},
           {"waiting", done->waiting},
           {"filters", done->filters}});
  });
}

void Node::unload_manual_sas(const std::string& file, const Reply& reply) {
  const auto done = manual_->unload(file);
  if (!done) return reply({{"error", done.error().message}});
  reply({{"file", file}, {"removed", *done}});
}

}  // namespace testudo::node
