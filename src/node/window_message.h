// SPDX-License-Identifier: Apache-2.0
// What a member knows of replay windows, as it crosses XCF and as the coupling facility holds it (spec C5): reports
// of windows (distributor/replay_report.h), and the witnesses that an owner names (distributor/replay_journal.h).
// All that comes in is checked here, and nowhere else.
//
//   for (const auto& report : reports) *message.add_windows() = window_to_message(report);
//   Result<std::vector<WindowReport>> reports = windows_from_message(message.windows());
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "base/result.h"
#include "distributor/replay_journal.h"
#include "distributor/replay_report.h"
#include "xcf/messages.pb.h"

namespace testudo::node {

[[nodiscard]] xcf::v1::Window window_to_message(const distributor::WindowReport& report);
Result<distributor::WindowReport> window_from_message(const xcf::v1::Window& message);

using WindowMessages = google::protobuf::RepeatedPtrField<xcf::v1::Window>;
Result<std::vector<distributor::WindowReport>> windows_from_message(const WindowMessages& messages);

/// Windows of one message at most: a link's messages stay small, so that none waits long behind another.
inline constexpr std::size_t kWindowsPerMessage = 256;

/// `{"epoch":41,"keeper":2,"targets":[{"node":3,"incarnation":7}]}`; the facility's value.
[[nodiscard]] std::string witnesses_to_json(const distributor::ReplayWitnesses& witnesses);
Result<distributor::ReplayWitnesses> witnesses_from_json(const std::string& text);

}  // namespace testudo::node
