// SPDX-License-Identifier: Apache-2.0
#include "node/log_spdlog.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <nlohmann/json.hpp>

namespace testudo::node {
namespace {

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::kTrace:
      return spdlog::level::trace;
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

class SpdlogLog final : public Log {
 public:
  explicit SpdlogLog(const NodeConfig& config)
      : json_(config.log.format == LogFormat::kJson),
        logger_(config.name, std::make_shared<spdlog::sinks::stderr_sink_mt>()) {
    logger_.set_level(level_of(config.log.level));
    logger_.flush_on(spdlog::level::trace);
    logger_.set_pattern(json_ ? R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","node":"%n","level":"%l","message":%v})"
                              : "%Y-%m-%d %H:%M:%S.%e %n %l: %v");
  }

  void line(LogLevel level, const std::string& text) override {
    logger_.log(level_of(level), "{}", json_ ? nlohmann::json(text).dump() : text);
  }

 private:
  bool json_;
  spdlog::logger logger_;
};

}  // namespace

std::unique_ptr<Log> make_log(const NodeConfig& config) { return std::make_unique<SpdlogLog>(config); }

}  // namespace testudo::node
