// SPDX-License-Identifier: Apache-2.0
// The daemon: a Node on real parts (sockets, etcd, gRPC, charon), one control thread and one worker thread.
#pragma once

#include "node/config.h"

namespace testudo::node {

/// Runs until SIGINT or SIGTERM. Returns the process's exit status: 0 after an orderly stop, 1 when it could not
/// start (the reason is in the log).
int run_daemon(const NodeConfig& config);

}  // namespace testudo::node
