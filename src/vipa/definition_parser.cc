// SPDX-License-Identifier: Apache-2.0
// From words to statements: syntax and ranges. What statements mean together is definition_rules.cc's.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "vipa/definition.h"
#include "vipa/definition_operands.h"
#include "vipa/definition_rules.h"
#include "vipa/definition_tokens.h"

namespace testudo::vipa {
namespace {

using definition::Operands;
using definition::Rules;
using definition::Subnet;
using definition::Token;

void no_address(Operands& operands) { operands.missing("no address is given: at least one is expected"); }

/// The rest of the statement as addresses; false and an error if there is none.
bool each_address(Operands& operands, std::string_view what, const std::function<void(IpAddress, Position)>& use) {
  if (operands.empty()) {
    no_address(operands);
    return false;
  }
  while (!operands.empty()) {
    const Position at = operands.front().at;
    if (const auto address = operands.address(what)) use(*address, at);
  }
  return true;
}

/// VIPADEFINE [MOVEABLE IMMEDIATE|WHENIDLE] mask address…
/// VIPADEFINE [MOVEABLE IMMEDIATE|WHENIDLE] address/length address[/length]…
void parse_define(Operands& operands, Rules& rules) {
  Movement movement = Movement::kImmediate;
  if (operands.take_if(definition::kMoveable)) {
    if (operands.take_if(definition::kWhenIdle)) {
      movement = Movement::kWhenIdle;
    } else if (!operands.take_if(definition::kImmediate)) {
      operands.missing("MOVEABLE says how: MOVEABLE IMMEDIATE or MOVEABLE WHENIDLE");
    }
  }
  Subnet subnets;
  const bool known = subnets.read_mask(operands);
  if (operands.empty()) return no_address(operands);
  std::optional<IpPrefix> first;  // subnet of the statement's first address
  while (!operands.empty()) {
    const auto a = operands.address_and_length("a DVIPA");
    if (!a) continue;
    rules.mention(a->address);
    if (!known) continue;
    if (const auto subnet = subnets.of(operands, *a)) rules.define({a->address, *subnet, movement, a->at}, first);
  }
}

/// VIPABACKUP rank address…
void parse_backup(Operands& operands, Rules& rules) {
  if (operands.empty())
    return operands.missing("the rank is missing: VIPABACKUP rank address, with a rank of 1–254");
  const std::optional<int> rank = operands.number("rank", kRankMin, kRankMax);
  each_address(operands, "a DVIPA", [&](IpAddress address, Position at) {
    rules.mention(address);
    if (rank) rules.backup({address, static_cast<std::uint8_t>(*rank), at});
  });
}

/// PORT list. False if it has an error.
bool parse_ports(Operands& operands, std::vector<std::uint16_t>& ports) {
  bool ok = true;
  std::size_t read = 0;
  for (; !operands.empty() && !operands.at_keyword(definition::kDestIp); ++read) {
    const Position at = operands.front().at;
    const std::optional<int> port = operands.number("port", 1, 65535);
    if (!port) {
      ok = false;
    } else if (std::find(ports.begin(), ports.end(), *port) != ports.end()) {
      operands.error(at, fmt::format("port {} is repeated: name each port once", *port));
      ok = false;
    } else {
      ports.push_back(static_cast<std::uint16_t>(*port));
    }
  }
  if (read == 0) {
    operands.missing("PORT names no port: at least one is expected; without PORT, all ports are distributed");
    ok = false;
  }
  std::sort(ports.begin(), ports.end());
  return ok;
}

/// What follows DESTIP. False if it has an error.
bool parse_targets(Operands& operands, std::vector<IpAddress>& targets) {
  if (operands.take_if(definition::kAll)) {
    if (operands.empty()) return true;
    operands.error(operands.front().at,
                   fmt::format("{} follows ALL: DESTIP has either ALL or a list of XCF addresses",
                               in_quotes(operands.front().text)));
    return false;
  }
  bool ok = true;
  const bool some = each_address(operands, "an XCF address", [&](IpAddress address, Position at) {
    if (std::find(targets.begin(), targets.end(), address) == targets.end()) return targets.push_back(address);
    operands.error(at, fmt::format("{} is repeated: name each target once", address.to_string()));
    ok = false;
  });
  return ok && some && !targets.empty();
}

/// VIPADISTRIBUTE [DEFINE] address [PORT list] DESTIP address…|ALL
/// VIPADISTRIBUTE DELETE address [PORT list] [DESTIP ALL]
void parse_distribute(Operands& operands, Rules& rules) {
  const bool deletes = operands.take_if(definition::kDelete);
  if (!deletes) operands.take_if(definition::kDefine);
  if (operands.empty()) return operands.missing("the DVIPA is missing: VIPADISTRIBUTE address PORT 80 DESTIP ALL");
  Distribute out;
  out.at = operands.front().at;
  const std::optional<IpAddress> address = operands.address("a DVIPA");
  bool ok = address.has_value();
  if (operands.take_if(definition::kPort)) ok = parse_ports(operands, out.ports) && ok;
  if (operands.take_if(definition::kDestIp)) {
    ok = parse_targets(operands, out.targets) && ok;
  } else if (!operands.empty()) {
    const Token& token = operands.front();
    operands.error(token.at,
                   fmt::format("{} is not understood here: PORT with a list of ports, or DESTIP, is expected",
                               in_quotes(token.text)));
    ok = false;
  } else if (!deletes) {
    operands.missing("DESTIP is missing: DESTIP ALL, or DESTIP with the targets' XCF addresses");
    ok = false;
  }
  if (!address) return;
  out.address = *address;
  if (deletes && !out.targets.empty()) {
    return operands.error(out.at, "DELETE takes back ports for all targets: leave DESTIP out");
  }
  if (!ok) return rules.mention_distributed(out.address);
  deletes ? rules.undistribute(out) : rules.distribute(out);
}

/// VIPARANGE [DEFINE] [MOVEABLE NONDISRUPTIVE|DISRUPTIVE] mask address
/// VIPARANGE [DEFINE] [MOVEABLE NONDISRUPTIVE|DISRUPTIVE] address/length
void parse_range(Operands& operands, Rules& rules) {
  operands.take_if(definition::kDefine);
  Range range;
  if (operands.take_if(definition::kMoveable)) {
    if (operands.take_if(definition::kDisruptive)) {
      range.disruptive = true;
    } else if (!operands.take_if(definition::kNonDisruptive)) {
      operands.missing("MOVEABLE says how: MOVEABLE NONDISRUPTIVE or MOVEABLE DISRUPTIVE");
    }
  }
  Subnet subnets;
  const bool known = subnets.read_mask(operands);
  if (operands.empty()) return operands.missing("the address is missing: VIPARANGE 255.255.255.0 192.0.2.0");
  range.at = operands.front().at;
  const auto address = operands.address_and_length("a range's address");
  if (!operands.empty()) {
    operands.error(operands.front().at,
                   fmt::format("{} is too much: one mask and one address, or one prefix, make a range",
                               in_quotes(operands.front().text)));
    return;
  }
  if (!known || !address) return;
  const auto subnet = subnets.of(operands, *address);
  if (!subnet) return;
  range.prefix = *subnet;
  rules.range(range);
}

/// VIPADELETE address…
void parse_delete(Operands& operands, Rules& rules) {
  each_address(operands, "a DVIPA", [&](IpAddress address, Position at) { rules.remove(address, at); });
}

/// VIPADYNAMIC and ENDVIPADYNAMIC have no operands.
void parse_bracket(Operands& operands, bool begin) {
  if (operands.empty()) return;
  const Token& token = operands.front();
  operands.error(token.at, fmt::format("{} is not understood here: {}", in_quotes(token.text),
                                       begin ? "a statement such as VIPADEFINE is expected"
                                             : "nothing follows ENDVIPADYNAMIC but another VIPADYNAMIC"));
}

void parse_statement(std::string_view keyword, Operands& operands, Rules& rules) {
  if (keyword == definition::kVipaDynamic || keyword == definition::kEndVipaDynamic) {
    return parse_bracket(operands, keyword == definition::kVipaDynamic);
  }
  if (keyword == definition::kVipaDefine) return parse_define(operands, rules);
  if (keyword == definition::kVipaBackup) return parse_backup(operands, rules);
  if (keyword == definition::kVipaDistribute) return parse_distribute(operands, rules);
  if (keyword == definition::kVipaRange) return parse_range(operands, rules);
  return parse_delete(operands, rules);
}

void unknown_statement(const Token& token, Rules& rules) {
  const std::string_view meant = nearest(token.text, definition::kStatements);
  rules.error(token.at, "",
              meant.empty()
                  ? fmt::format("{} is not a statement: VIPADEFINE, VIPABACKUP, VIPADISTRIBUTE, VIPARANGE, "
                                "VIPADELETE or ENDVIPADYNAMIC is expected",
                                in_quotes(token.text))
                  : fmt::format("{} is not a statement: did you mean {}?", in_quotes(token.text),
                                definition::upper(meant)));
}

/// Keeps track of whether statements stand between VIPADYNAMIC and ENDVIPADYNAMIC.
class Block {
 public:
  explicit Block(Rules& rules) : rules_(rules) {}
  void statement(const Token& token, std::string_view keyword) {
    if (keyword == definition::kVipaDynamic) {
      if (open_) rules_.error(token.at, "VIPADYNAMIC", "ENDVIPADYNAMIC is missing before it");
      open_ = seen_ = true;
    } else if (!open_ && !complained_) {
      rules_.error(token.at, definition::upper(keyword), "VIPADYNAMIC is missing before it");
      complained_ = true;
    }
    if (keyword == definition::kEndVipaDynamic) open_ = false;
  }
  void end(Position at) {
    if (open_) rules_.error(at, "VIPADYNAMIC", "the block is not closed: ENDVIPADYNAMIC is missing at the end");
    if (!seen_ && !complained_) {
      rules_.error(at, "", "there is no definition block: VIPADYNAMIC … ENDVIPADYNAMIC is expected");
    }
  }

 private:
  Rules& rules_;
  bool open_ = false;
  bool seen_ = false;
  bool complained_ = false;
};

}  // namespace

ParsedDefinition parse_definition(std::string_view text, std::string_view file) {
  const std::vector<Token> tokens = definition::tokenize(text);
  Rules rules{std::string(file)};
  Block block(rules);
  std::span<const Token> rest(tokens);
  while (!rest.empty()) {
    const Token first = rest.front();
    const auto end = std::find_if(rest.begin() + 1, rest.end(),
                                  [](const Token& t) { return definition::looks_like_statement(t.text); });
    const auto count = static_cast<std::size_t>(end - rest.begin());
    if (const auto keyword = definition::statement_of(first.text)) {
      block.statement(first, *keyword);
      Operands operands(first, *keyword, rest.subspan(1, count - 1), rules);
      parse_statement(*keyword, operands, rules);
    } else {
      unknown_statement(first, rules);
    }
    rest = rest.subspan(count);
  }
  block.end(tokens.empty() ? Position{1, 1} : tokens.back().at);
  return rules.finish();
}

}  // namespace testudo::vipa
