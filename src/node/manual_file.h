// SPDX-License-Identifier: Apache-2.0
// A file of manual SAs and filters: TOML, as the node file is. docs/manual-sas.md is the manual of its keys.
//
//   node::LoadedManualFile loaded = node::load_manual_file("/etc/testudo/branch.toml", &config.definition);
//   for (const vipa::Diagnostic& e : loaded.errors) fmt::print(stderr, "{}\n", e.to_string());
//   if (loaded.errors.empty()) manual_sas.load(std::move(loaded.file), …);
//
// The text is read into locked memory and its keys are taken out of it before the TOML parser sees it
// (manual_keys.h): neither its memory nor any message ever has one.
#pragma once

#include <string>
#include <vector>

#include "base/secret.h"
#include "ipsec/sa_parameters.h"
#include "node/config.h"
#include "vipa/definition.h"
#include "vipa/diagnostic.h"

namespace testudo::node {

struct ManualFile {
  std::string path;  // absolute
  /// Without ids. A replay window of 0: as the node file says. The tunnels' names are manual_tunnel()s.
  std::vector<ipsec::SaParameters> sas;
  std::vector<StaticFilter> filters;  // each tunnel is one of an SA here
};

struct LoadedManualFile {
  ManualFile file;           // to be used only if there is no error
  vipa::Diagnostics errors;  // in the order of the lines
};

/// Refuses a file that others than root could have read or written. `definition`: of the node that is to take it;
/// null: not known here.
[[nodiscard]] LoadedManualFile load_manual_file(const std::string& path, const vipa::Definition* definition);

/// The text alone. The keys in it are overwritten.
[[nodiscard]] LoadedManualFile parse_manual_file(Secret text, const std::string& path,
                                                 const vipa::Definition* definition);

}  // namespace testudo::node
