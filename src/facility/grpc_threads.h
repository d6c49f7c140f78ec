// SPDX-License-Identifier: Apache-2.0
// gRPC ends its callback threads when the last channel or server is destroyed; if that happens on one of these very
// threads, it waits for itself and frees its queue twice (seen with gRPC 1.51: the last reference to a channel is
// often that of a call, and a call ends on such a thread). So they are kept for as long as the process lives.
#pragma once

namespace testudo::facility {

/// Before the first channel or server is made. Idempotent; any thread.
void keep_grpc_threads();

}  // namespace testudo::facility
