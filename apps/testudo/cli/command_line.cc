// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <CLI/CLI.hpp>
#include <array>
#include <ostream>
#include <string>

#include "cli/check.h"
#include "cli/manual.h"
#include "cli/query.h"
#include "cli/render.h"
#include "node/config.h"
#include "node/daemon.h"

namespace testudo::cli {
namespace {

struct QueryOptions {
  std::string socket;
  std::string config;
  bool json = false;
  unsigned timeout_seconds = 5;
};

struct QueryCommand {
  const char* name;
  const char* help;
};

constexpr std::array kQueries = {
    QueryCommand{"status", "The cluster as the node sees it: members, DVIPAs, owners, targets ready per port"},
    QueryCommand{"sa", "Security associations, their sequence leases, and filters"},
    QueryCommand{"connections", "Distributed connections and their targets"},
    QueryCommand{"counters", "Packets per port and stage, and drops by reason"},
    QueryCommand{"events", "The latest changes of ownership of DVIPAs, as this node has made or seen them"},
};

int run_node(const std::string& config, std::ostream& err) {
  const node::LoadedConfig loaded = node::load_config(config);
  for (const vipa::Diagnostic& e : loaded.errors) err << e.to_string() << "\n";
  return loaded.errors.empty() ? node::run_daemon(loaded.config) : kFailed;
}

int fail_with(std::ostream& err, const Error& error, ExitStatus status) {
  err << "testudo: " << error.message << "\n";
  return status;
}

void add_query_options(CLI::App& sub, QueryOptions& options) {
  sub.add_flag("--json", options.json, "The answer as one JSON object (docs/commands.md)");
  CLI::Option* socket = sub.add_option("--socket", options.socket, "Control socket of the node")->type_name("PATH");
  sub.add_option("--config", options.config, "Node file; its control socket is asked")
      ->type_name("FILE")
      ->excludes(socket);
  sub.add_option("--timeout", options.timeout_seconds, "Seconds to wait for the answer")
      ->type_name("SECONDS")
      ->check(CLI::Range(1, 600))
      ->capture_default_str();
}

/// testudo dvipa move, testudo drain.
struct MoveCommand {
  MoveCommand(CLI::App& app, QueryOptions& options) {
    CLI::App* dvipa = app.add_subcommand("dvipa", "What an operator does with a DVIPA")->require_subcommand(1);
    move = dvipa->add_subcommand("move", "Let another node own it, as MOVEABLE says; connections are kept");
    move->add_option("address", address, "The DVIPA")->required()->type_name("ADDRESS");
    move->add_option("--to", to, "Node that defines it or backs it up")->required()->type_name("NODE");
    add_query_options(*move, options);
    drain = app.add_subcommand("drain", "Move all DVIPAs that the node owns to their best live backups");
    add_query_options(*drain, options);
  }
  [[nodiscard]] bool parsed() const { return move->parsed() || drain->parsed(); }
  [[nodiscard]] nlohmann::json request() const {
    if (drain->parsed()) return {{"command", "drain"}};
    return {{"command", "dvipa move"}, {"dvipa", address}, {"to", to}};
  }

  std::string address, to;
  CLI::App *move, *drain;
};

/// testudo sa list, load, unload, check.
struct ManualCommand {
  explicit ManualCommand(CLI::App& sa) {
    sa.require_subcommand(0, 1);
    sa.add_subcommand("list", "The same as without a word behind sa")->fallthrough();
    load =
        add(sa, "load", "Load the manual SAs and filters of a file; loaded again, it replaces what it had before");
    unload = add(sa, "unload", "Remove what a file has brought");
    check = add(sa, "check", "Validate such a file, with --config for that node; load nothing");
  }
  CLI::App* add(CLI::App& sa, const char* name, const char* help) {
    CLI::App* sub = sa.add_subcommand(name, help)->fallthrough();
    sub->add_option("file", file, "File of manual SAs (docs/manual-sas.md)")->required()->type_name("FILE");
    return sub;
  }
  [[nodiscard]] bool checks() const { return check->parsed(); }
  [[nodiscard]] bool changes() const { return load->parsed() || unload->parsed(); }

  std::string file;
  CLI::App *load, *unload, *check;
};

int change(const ManualCommand& manual, const QueryOptions& options, std::ostream& out, std::ostream& err) {
  const Result<std::string> socket = control_socket(options.socket, options.config);
  if (!socket) return fail_with(err, socket.error(), kUnreachable);
  const Result<nlohmann::json> answer = request(*socket, change_request(manual.load->parsed(), manual.file),
                                                std::chrono::seconds(options.timeout_seconds));
  if (!answer) return fail_with(err, answer.error(), kUnreachable);
  if (options.json) {
    out << answer->dump() << "\n";
    return answer->contains("error") ? kFailed : kOk;
  }
  return write_change(*answer, out, err);
}

int query(const nlohmann::json& whole, const QueryOptions& options, std::ostream& out, std::ostream& err) {
  const std::string command = whole.at("command");
  const Result<std::string> socket = control_socket(options.socket, options.config);
  if (!socket) return fail_with(err, socket.error(), kUnreachable);
  const Result<nlohmann::json> answer = request(*socket, whole, std::chrono::seconds(options.timeout_seconds));
  if (!answer) return fail_with(err, answer.error(), kUnreachable);
  if (answer->contains("error"))
    return fail_with(err, Error{"the node says: " + answer->at("error").dump()}, kFailed);
  if (options.json) {
    out << answer->dump() << "\n";
    return kOk;
  }
  const Result<std::string> table = render(command, *answer);
  if (!table) return fail_with(err, table.error(), kFailed);
  out << *table;
  return kOk;
}

}  // namespace

int run(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  CLI::App app("Testudo: many hosts behind one address, one IPsec peer.", "testudo");
  app.require_subcommand(1);
  app.set_version_flag("--version", TESTUDO_VERSION);

  std::string node_config;
  CLI::App* node = app.add_subcommand("node", "Run the node in the foreground, until SIGINT or SIGTERM");
  node->add_option("--config", node_config, "Node file (TOML)")->required()->type_name("FILE");

  CheckOptions check_options;
  CLI::App* checks = app.add_subcommand("check", "Validate a node file and its definition block; start nothing");
  checks->add_option("--config", check_options.config, "Node file (TOML)")->required()->type_name("FILE");
  checks->add_flag("--json", check_options.json, "Answer as one JSON object");
  checks->add_flag("--live", check_options.live,
                   "Look at this host's interfaces and, if the node runs, at charon's proposals too");

  QueryOptions options;
  for (const QueryCommand& q : kQueries) {
    add_query_options(*app.add_subcommand(q.name, q.help), options);
  }
  const MoveCommand moves(app, options);
  const ManualCommand manual(*app.get_subcommand("sa"));

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e, out, err) == 0 ? kOk : kUsage;
  }
  if (node->parsed()) return run_node(node_config, err);
  if (checks->parsed()) return check(check_options, out);
  if (manual.checks()) return check_manual({manual.file, options.config, options.json}, out);
  if (manual.changes()) return change(manual, options, out, err);
  if (moves.parsed()) return query(moves.request(), options, out, err);
  return query({{"command", app.get_subcommands().front()->get_name()}}, options, out, err);
}

}  // namespace testudo::cli
