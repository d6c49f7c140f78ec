// SPDX-License-Identifier: Apache-2.0
// Log: where the control plane says what happened, one line each. The daemon's goes to standard error through
// spdlog (node/log_spdlog.cc), the simulation's into a transcript. Never key material, never per packet.
#pragma once

#include <fmt/format.h>

#include <string>
#include <utility>

#include "node/config.h"

namespace testudo::node {

class Log {
 public:
  Log() = default;
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  virtual ~Log() = default;

  virtual void line(LogLevel level, const std::string& text) = 0;

  template <typename... Args>
  void debug(fmt::format_string<Args...> format, Args&&... args) {
    line(LogLevel::kDebug, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void info(fmt::format_string<Args...> format, Args&&... args) {
    line(LogLevel::kInfo, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void warning(fmt::format_string<Args...> format, Args&&... args) {
    line(LogLevel::kWarning, fmt::format(format, std::forward<Args>(args)...));
  }
  template <typename... Args>
  void error(fmt::format_string<Args...> format, Args&&... args) {
    line(LogLevel::kError, fmt::format(format, std::forward<Args>(args)...));
  }
};

}  // namespace testudo::node
