// SPDX-License-Identifier: Apache-2.0
#include "cli/manual.h"

#include <fmt/format.h>

#include <filesystem>
#include <ostream>

#include "cli/command_line.h"
#include "node/diagnostic_json.h"
#include "node/manual_file.h"
#include "node/sa_text.h"

namespace testudo::cli {
namespace {

using nlohmann::json;

std::string counted(std::uint64_t count, const char* what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

void write_errors(const std::string& file, const vipa::Diagnostics& errors, std::ostream& out) {
  for (const vipa::Diagnostic& e : errors) out << e.to_string() << "\n";
  out << fmt::format("{}: {}\n", file, counted(errors.size(), "error"));
}

void write_summary(const node::ManualFile& file, std::ostream& out) {
  out << fmt::format("{}: no errors: {}, {}\n", file.path, counted(file.sas.size(), "SA"),
                     counted(file.filters.size(), "filter"));
  for (const ipsec::SaParameters& sa : file.sas) {
    out << fmt::format("  {} {} {} {} {}, SPI {:#010x}, {}, {}\n", sa.local.to_string(),
                       sa.direction == ipsec::Direction::kInbound ? "from" : "to", sa.remote.to_string(),
                       node::protocol_name(sa), sa.mode == ipsec::Mode::kTransport ? "transport" : "tunnel",
                       sa.spi.value(), node::suite_name(sa), sa.tunnel);
  }
}

vipa::Diagnostics diagnostics(const json& errors) {
  vipa::Diagnostics out;
  for (const json& e : errors) {
    out.push_back({e.value("file", ""), e.value("line", 0), e.value("column", 0), e.value("subject", ""),
                   e.value("message", "")});
  }
  return out;
}

}  // namespace

int check_manual(const ManualCheck& options, std::ostream& out) {
  node::LoadedConfig config;
  if (!options.config.empty()) config = node::load_config(options.config);
  const bool known = !options.config.empty() && config.errors.empty();
  const node::LoadedManualFile loaded =
      node::load_manual_file(options.file, known ? &config.config.definition : nullptr);
  vipa::Diagnostics errors = std::move(config.errors);
  errors.insert(errors.end(), loaded.errors.begin(), loaded.errors.end());
  if (options.json) {
    out << json{{"ok", errors.empty()},
                {"file", options.file},
                {"sas", loaded.file.sas.size()},
                {"filters", loaded.file.filters.size()},
                {"errors", node::errors_json(errors)}}
               .dump(-1, ' ', false, json::error_handler_t::replace)
        << "\n";
  } else if (errors.empty()) {
    write_summary(loaded.file, out);
  } else {
    write_errors(options.file, errors, out);
  }
  return errors.empty() ? kOk : kFailed;
}

json change_request(bool load, const std::string& file) {
  std::error_code ignored;
  return {{"command", load ? "sa load" : "sa unload"},
          {"file", std::filesystem::absolute(file, ignored).lexically_normal().string()}};
}

int write_change(const json& answer, std::ostream& out, std::ostream& err) {
  if (answer.contains("error")) {
    for (const vipa::Diagnostic& e : diagnostics(answer.value("errors", json::array())))
      err << e.to_string() << "\n";
    err << "testudo: the node says: " << answer.at("error").get<std::string>() << "\n";
    return kFailed;
  }
  const auto count = [&](const char* key) { return answer.value(key, std::uint64_t{0}); };
  out << answer.value("file", "") << ": ";
  if (!answer.contains("installed")) {
    out << fmt::format("{} removed\n", counted(count("removed"), "SA"));
    return kOk;
  }
  out << fmt::format("{} installed, {} kept, {} removed; {}\n", counted(count("installed"), "SA"), count("kept"),
                     count("removed"), counted(count("filters"), "filter"));
  if (count("waiting") != 0)
    out << fmt::format("note: {} for a DVIPA that this node does not own now: installed when it does\n",
                       counted(count("waiting"), "SA"));
  return kOk;
}

}  // namespace testudo::cli
