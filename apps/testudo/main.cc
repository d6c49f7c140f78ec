// SPDX-License-Identifier: Apache-2.0
// The testudo program. docs/commands.md is its manual.
#include <iostream>

#include "cli/command_line.h"

int main(int argc, char** argv) { return testudo::cli::run(argc, argv, std::cout, std::cerr); }
