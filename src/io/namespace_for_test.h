// SPDX-License-Identifier: Apache-2.0
// Network namespaces for tests: the test process moves between namespaces of its own, which vanish with it. Needs
// root.
//
//   TestNamespace home, peer;                                 // both empty, with lo up
//   home.enter();
//   shell("ip link add v0 type veth peer name v1 netns " + peer.by_path());
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "io/descriptor.h"

namespace testudo::io {

inline void shell(const std::string& command) {
  ASSERT_EQ(std::system((command + " >/dev/null").c_str()), 0) << command;
}

inline std::string output_of(const std::string& command) {
  std::string out;
  FILE* pipe = popen(command.c_str(), "r");
  char line[512];
  while (std::fgets(line, sizeof line, pipe) != nullptr) out += line;
  pclose(pipe);
  return out;
}

class TestNamespace {
 public:
  TestNamespace() {
    EXPECT_EQ(unshare(CLONE_NEWNET), 0) << "needs root";
    ns_ = Descriptor(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    shell("ip link set lo up");
  }
  void enter() const { ASSERT_EQ(setns(ns_.get(), CLONE_NEWNET), 0); }
  /// As `ip link … netns` takes it.
  [[nodiscard]] std::string by_path() const {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(ns_.get());
  }

 private:
  Descriptor ns_;
};

}  // namespace testudo::io
