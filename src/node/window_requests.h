// SPDX-License-Identifier: Apache-2.0
// WindowRequests: asks the local worker for the replay windows of a DVIPA's inbound SAs, and hands each answer to
// who has asked. All commands before the question are done by then; packets may pass while the answer is made.
//
//   requests.ask(dvipa, path::ReportWindows::Of::kOwner, [this](std::vector<WindowReport> list) { … });
//   requests.answered(windows);                         // path::Windows, from the worker
//
// Control thread only.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>
#include <vector>

#include "base/address.h"
#include "distributor/replay_report.h"
#include "node/data_plane.h"

namespace testudo::node {

class WindowRequests {
 public:
  using Done = std::function<void(std::vector<distributor::WindowReport> list)>;

  explicit WindowRequests(DataPlane& plane) : plane_(plane) {}

  void ask(IpAddress dvipa, path::ReportWindows::Of of, Done done) {
    waiting_.emplace(++last_, std::move(done));
    plane_.submit(path::ReportWindows{.tag = last_, .dvipa = dvipa, .of = of});
  }
  void answered(path::Windows windows) {
    auto found = waiting_.extract(windows.tag);
    if (!found.empty()) found.mapped()(std::move(windows.list));
  }

 private:
  DataPlane& plane_;
  std::map<std::uint64_t, Done> waiting_;
  std::uint64_t last_ = 0;
};

}  // namespace testudo::node
