// SPDX-License-Identifier: Apache-2.0
// What the statements of a definition block mean together: applied in order, each checked against those before it.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "vipa/definition.h"

namespace testudo::vipa::definition {

/// The subnet of `length` bits (1–32) that `address` is in.
[[nodiscard]] Ipv4Prefix subnet_of(Ipv4Address address, std::uint8_t length);

class Rules {
 public:
  explicit Rules(std::string file) : file_(std::move(file)) {}

  void error(Position at, std::string subject, std::string message);

  /// `subnet` is that of the same statement's first good address, set by it.
  void define(const Define& define, std::optional<Ipv4Prefix>& subnet);
  void backup(const Backup& backup);
  void distribute(const Distribute& distribute);
  void undistribute(const Distribute& what);
  void range(const Range& range);
  void remove(Ipv4Address address, Position at);

  /// An address that a statement with an error defines, or distributes: later statements about it are not wrong for
  /// that.
  void mention(Ipv4Address address) { mentioned_.insert(address); }
  void mention_distributed(Ipv4Address address) { mentioned_distributed_.insert(address); }

  [[nodiscard]] ParsedDefinition finish();

 private:
  [[nodiscard]] bool already_there(Ipv4Address address, Position at, const std::string& statement);
  [[nodiscard]] bool ports_clash(const Distribute& distribute);

  std::string file_;
  ParsedDefinition out_;
  std::set<Ipv4Address> mentioned_;
  std::set<Ipv4Address> mentioned_distributed_;
};

}  // namespace testudo::vipa::definition
