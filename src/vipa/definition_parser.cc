// SPDX-License-Identifier: Apache-2.0
// From words to statements: syntax and ranges. What statements mean together is definition_rules.cc's.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "vipa/definition.h"
#include "vipa/definition_rules.h"
#include "vipa/definition_tokens.h"

namespace testudo::vipa {
namespace {

using definition::Rules;
using definition::Token;

/// The operands of one statement, read from front to back.
class Operands {
 public:
  Operands(Token statement, std::string_view keyword, std::span<const Token> words, Rules& rules)
      : statement_(statement), keyword_(keyword), words_(words), rules_(rules) {}

  [[nodiscard]] bool empty() const { return words_.empty(); }
  [[nodiscard]] const Token& front() const { return words_.front(); }
  Token take() {
    const Token token = words_.front();
    words_ = words_.subspan(1);
    return token;
  }
  bool take_if(std::string_view keyword) {
    if (empty() || !definition::is(front().text, keyword)) return false;
    words_ = words_.subspan(1);
    return true;
  }
  [[nodiscard]] bool at_keyword(std::string_view keyword) const {
    return !empty() && definition::is(front().text, keyword);
  }
  /// Where to point when a word is missing: at the statement.
  void missing(const std::string& what) { error(statement_.at, what); }
  void error(Position at, std::string message) {
    rules_.error(at, definition::upper(keyword_), std::move(message));
  }
  [[nodiscard]] Position at() const { return statement_.at; }

  /// The next word as an address that a host can have; `what` names it in errors.
  std::optional<IpAddress> address(std::string_view what);
  /// The next word as a subnet mask.
  std::optional<std::uint8_t> mask();
  /// The next word is no subnet mask, but an address that has, or should have, its prefix length behind it.
  [[nodiscard]] bool at_prefix() const {
    return !empty() && front().text.find_first_of("/:") != std::string_view::npos;
  }
  /// The next word as an address and, if it is there, a prefix length.
  struct AddressAndLength {
    IpAddress address;
    std::optional<std::uint8_t> length;
    Position at;
  };
  std::optional<AddressAndLength> address_and_length(std::string_view what);
  /// The next word as a number.
  std::optional<int> number(std::string_view what, int min, int max);

 private:
  std::optional<IpAddress> address(Token token, std::string_view what);

  Token statement_;
  std::string_view keyword_;
  std::span<const Token> words_;
  Rules& rules_;
};

/// Not 0/8, 127/8, multicast and above (RFC 6890); not ::, ::1, multicast. Link-local IPv6 addresses mean nothing
/// without an interface.
bool is_unicast(IpAddress a) {
  if (a.is_v6()) {
    const bool low = a.high() == 0 && a.low() <= 1;
    return !low && !a.is_multicast() && a.high() >> 54 != 0xfe80U >> 6;
  }
  const std::uint32_t top = a.v4() >> 24;
  return top != 0 && top != 127 && top < 224;
}

std::optional<IpAddress> Operands::address(std::string_view what) { return address(take(), what); }

std::optional<IpAddress> Operands::address(Token token, std::string_view what) {
  const Result<IpAddress> parsed = IpAddress::parse(token.text);
  if (!parsed) {
    error(token.at, fmt::format("{} is not {}: an address such as 192.0.2.100 or 2001:db8::100 is expected",
                                in_quotes(token.text), what));
    return std::nullopt;
  }
  if (!is_unicast(*parsed)) {
    error(token.at,
          fmt::format("{} cannot be {}: it is no address that a single host can have", parsed->to_string(), what));
    return std::nullopt;
  }
  return *parsed;
}

std::optional<std::uint8_t> Operands::mask() {
  if (empty()) {
    missing("the subnet mask is missing: it stands before the address, such as 255.255.255.0");
    return std::nullopt;
  }
  const Token token = take();
  const Result<IpAddress> parsed = IpAddress::parse(token.text);
  const std::uint32_t value = parsed && parsed->is_v4() ? parsed->v4() : 0;
  if (value == 0 || std::countl_one(value) + std::countr_zero(value) != 32) {
    error(token.at, fmt::format("{} is not a subnet mask: one such as 255.255.255.0 stands before the address",
                                in_quotes(token.text)));
    return std::nullopt;
  }
  return static_cast<std::uint8_t>(std::countl_one(value));
}

std::optional<Operands::AddressAndLength> Operands::address_and_length(std::string_view what) {
  const Token whole = take();
  Token token = whole;
  const std::size_t slash = token.text.find('/');
  token.text = token.text.substr(0, slash);
  const std::optional<IpAddress> found = address(token, what);
  if (!found) return std::nullopt;
  AddressAndLength out{*found, std::nullopt, whole.at};
  if (slash == std::string_view::npos) return out;
  const std::string_view digits = whole.text.substr(slash + 1);
  unsigned length = 0;
  const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), length);
  if (code != std::errc() || end != digits.data() + digits.size() || length < 1 || length > found->bits()) {
    error(whole.at, fmt::format("prefix length {} is not one of 1–{}", in_quotes(digits), found->bits()));
    return std::nullopt;
  }
  out.length = static_cast<std::uint8_t>(length);
  return out;
}

std::optional<int> Operands::number(std::string_view what, int min, int max) {
  const Token token = take();
  int value = 0;
  const auto [end, code] = std::from_chars(token.text.data(), token.text.data() + token.text.size(), value);
  if (code == std::errc::invalid_argument || end != token.text.data() + token.text.size()) {
    error(token.at,
          fmt::format("{} {} is not a number: one of {}–{} is expected", what, in_quotes(token.text), min, max));
    return std::nullopt;
  }
  if (code != std::errc() || value < min || value > max) {
    error(token.at, fmt::format("{} {} is outside {}–{}", what, token.text, min, max));
    return std::nullopt;
  }
  return value;
}

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

/// The subnet of one statement's addresses: a mask that stands before them, or the prefix length behind them.
class Subnet {
 public:
  /// Takes the mask if there is one. False: there is an error in its place.
  bool read_mask(Operands& operands) {
    masked_ = !operands.at_prefix();
    if (masked_) length_ = operands.mask();
    return !masked_ || length_.has_value();
  }
  /// The subnet of `a`; nothing, and an error, if it has none or two.
  std::optional<IpPrefix> of(Operands& operands, const Operands::AddressAndLength& a) {
    if (masked_ && (a.length || a.address.is_v6())) {
      operands.error(a.at,
                     fmt::format("{}: a mask before the addresses is for IPv4 addresses without a prefix length; "
                                 "write no mask, but 192.0.2.100/24 or 2001:db8::100/64",
                                 a.address.to_string()));
      return std::nullopt;
    }
    if (a.length) length_ = a.length;
    if (!length_ || *length_ > a.address.bits()) {
      operands.error(a.at, fmt::format("the prefix length is missing: write it behind the address, such as {}/{}",
                                       a.address.to_string(), a.address.is_v4() ? 24 : 64));
      return std::nullopt;
    }
    return definition::subnet_of(a.address, *length_);
  }

 private:
  bool masked_ = false;
  std::optional<std::uint8_t> length_;  // of the mask, or of the last address that has one
};

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
