// SPDX-License-Identifier: Apache-2.0
// The command line of testudo: reads it, does what it says, returns the process's exit status.
//
//   return cli::run(argc, argv, std::cout, std::cerr);
#pragma once

#include <iosfwd>

namespace testudo::cli {

enum ExitStatus : int {
  kOk = 0,
  kFailed = 1,       // check found errors; the node could not start; the node refused the command
  kUsage = 2,        // the command line is wrong
  kUnreachable = 3,  // no node answers at the control socket
};

[[nodiscard]] int run(int argc, const char* const* argv, std::ostream& out, std::ostream& err);

}  // namespace testudo::cli
