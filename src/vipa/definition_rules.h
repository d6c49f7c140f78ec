// SPDX-License-Identifier: Apache-2.0
// What the statements of a definition block mean together: applied in order, each checked against those before it.
#pragma once

#include <optional>
#include <set>
#include <string>

#include "vipa/definition.h"

namespace testudo::vipa::definition {

/// The subnet of `length` bits (1–32, IPv6: 1–128) that `address` is in.
[[nodiscard]] IpPrefix subnet_of(IpAddress address, std::uint8_t length);

class Rules {
 public:
  explicit Rules(std::string file) : file_(std::move(file)) {}

  void error(Position at, std::string subject, std::string message);

  /// `subnet` is that of the same statement's first good address, set by it.
  void define(const Define& define, std::optional<IpPrefix>& subnet);
  void backup(const Backup& backup);
  void distribute(const Distribute& distribute);
  void undistribute(const Distribute& what);
  void range(const Range& range);
  void remove(IpAddress address, Position at);

  /// An address that a statement with an error defines, or distributes: later statements about it are not wrong for
  /// that.
  void mention(IpAddress address) { mentioned_.insert(address); }
  void mention_distributed(IpAddress address) { mentioned_distributed_.insert(address); }

  [[nodiscard]] ParsedDefinition finish();

 private:
  [[nodiscard]] bool already_there(IpAddress address, Position at, const std::string& statement);
  [[nodiscard]] bool ports_clash(const Distribute& distribute);

  std::string file_;
  ParsedDefinition out_;
  std::set<IpAddress> mentioned_;
  std::set<IpAddress> mentioned_distributed_;
};

}  // namespace testudo::vipa::definition
