// SPDX-License-Identifier: Apache-2.0
// Result<T>: a value, or an Error that says in one sentence what is wrong and what would be right. For the control
// plane; a packet that cannot go on gets a Drop reason instead, and a bug ends the program through CHECK.
//
//   Result<Config> config = load(path);
//   if (!config) return tl::unexpected(config.error());
#pragma once

#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace testudo {

struct Error {
  std::string message;
};

template <typename T>
class [[nodiscard]] Result : public tl::expected<T, Error> {
 public:
  using tl::expected<T, Error>::expected;
};

template <>
class [[nodiscard]] Result<void> : public tl::expected<void, Error> {
 public:
  using tl::expected<void, Error>::expected;
};

/// `return fail("…");` in a function that returns any Result.
[[nodiscard]] inline tl::unexpected<Error> fail(std::string message) {
  return tl::unexpected<Error>(Error{std::move(message)});
}

}  // namespace testudo
