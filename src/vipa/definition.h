// SPDX-License-Identifier: Apache-2.0
// The definition block (spec A2): which DVIPAs a node owns, which it backs up, and to whom they are distributed.
// Only owners and backups have one; targets learn the VIPAList from the owner (A3). docs/definition-block.md is its
// manual.
//
//   vipa::ParsedDefinition parsed = vipa::parse_definition(text, "owner.vipa");
//   for (const vipa::Diagnostic& e : parsed.errors) fmt::print("{}\n", e.to_string());
//   for (const vipa::Define& d : parsed.definition.defines) own(d.address);
//
// Syntax as in z/OS communications profiles: keywords may be shortened to their upper-case part in docs, case does
// not matter, ";" begins a comment, statements span lines. The parser is pure, never throws, and reports every
// error, not only the first one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "vipa/diagnostic.h"

namespace testudo::vipa {

inline constexpr int kRankMin = 1;
inline constexpr int kRankMax = 254;
inline constexpr std::size_t kPortsMax = 64;  // distributed ports of one DVIPA

/// When an operator moves a DVIPA to another host (spec G1).
enum class Movement : std::uint8_t {
  kImmediate,  // at once, existing connections kept
  kWhenIdle,   // when the last connection has ended
};

/// Where a statement's address stands; for later messages about it.
struct Position {
  int line = 0;
  int column = 0;
  friend bool operator==(const Position&, const Position&) = default;
};

/// VIPADEFINE: this node owns `address`.
struct Define {
  IpAddress address;
  IpPrefix subnet;  // of all addresses of the same statement
  Movement movement = Movement::kImmediate;
  Position at;
};

/// VIPABACKUP: this node takes `address` over when its owner is gone.
struct Backup {
  IpAddress address;
  std::uint8_t rank = 1;  // 1–254, higher takes over first
  Position at;
};

/// VIPADISTRIBUTE: connections to `address` and one of `ports` go to one of `targets`.
struct Distribute {
  IpAddress address;
  std::vector<std::uint16_t> ports;  // ascending, 1–65535; empty: all ports
  std::vector<IpAddress> targets;    // XCF addresses, in the order written; empty: ALL members
  Position at;

  [[nodiscard]] bool all_ports() const { return ports.empty(); }
  [[nodiscard]] bool all_targets() const { return targets.empty(); }
};

/// VIPARANGE: addresses that come to exist when an application binds one of them.
struct Range {
  IpPrefix prefix;
  bool disruptive = false;  // a second bind elsewhere takes the address away from the first one
  Position at;
};

/// What is left when all statements have been applied in order. VIPADELETE and VIPADISTRIBUTE DELETE take back what
/// stands before them.
struct Definition {
  std::vector<Define> defines;
  std::vector<Backup> backups;
  std::vector<Distribute> distributes;
  std::vector<Range> ranges;

  [[nodiscard]] const Define* find_define(IpAddress address) const;
  [[nodiscard]] const Backup* find_backup(IpAddress address) const;
  /// The distributions of one DVIPA, in the order written.
  [[nodiscard]] std::vector<Distribute> distributes_of(IpAddress address) const;
};

struct ParsedDefinition {
  Definition definition;  // what could be understood; to be used only if there is no error
  Diagnostics errors;     // in the order of the text
};

/// `file` is the name that errors give.
[[nodiscard]] ParsedDefinition parse_definition(std::string_view text, std::string_view file);

}  // namespace testudo::vipa
