// SPDX-License-Identifier: Apache-2.0
// Numbers in the coupling facility's JSON records. The library does not look at their size: it cuts a number that
// is too large for its type.
//
//   out.control_port = number<std::uint16_t>(json, "control_port");   // std::exception: it is no such number
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace testudo::vipa {

template <typename T>
T number(const nlohmann::json& value) {
  const std::uint64_t wide = value.is_number_unsigned() ? value.get<std::uint64_t>() : 0;
  if (!value.is_number_unsigned() || wide > std::numeric_limits<T>::max()) {
    throw std::out_of_range(
        fmt::format("{} is no number from 0 to {}", value.dump(), std::numeric_limits<T>::max()));
  }
  return static_cast<T>(wide);
}

template <typename T>
T number(const nlohmann::json& record, const char* field) {
  return number<T>(record.at(field));
}

}  // namespace testudo::vipa
