// SPDX-License-Identifier: Apache-2.0
// The operands of one statement of a definition block, and their errors. Used by the parser alone.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "vipa/definition.h"
#include "vipa/definition_rules.h"
#include "vipa/definition_tokens.h"

namespace testudo::vipa::definition {

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
    if (empty() || !is(front().text, keyword)) return false;
    words_ = words_.subspan(1);
    return true;
  }
  [[nodiscard]] bool at_keyword(std::string_view keyword) const { return !empty() && is(front().text, keyword); }
  /// Where to point when a word is missing: at the statement.
  void missing(const std::string& what) { error(statement_.at, what); }
  void error(Position at, std::string message) { rules_.error(at, upper(keyword_), std::move(message)); }
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

/// The subnet of one statement's addresses: a mask that stands before them, or the prefix length behind them.
class Subnet {
 public:
  /// Takes the mask if there is one. False: there is an error in its place.
  bool read_mask(Operands& operands);
  /// The subnet of `a`; nothing, and an error, if it has none or two.
  std::optional<IpPrefix> of(Operands& operands, const Operands::AddressAndLength& a);

 private:
  bool masked_ = false;
  std::optional<std::uint8_t> length_;  // of the mask, or of the last address that has one
};

}  // namespace testudo::vipa::definition
