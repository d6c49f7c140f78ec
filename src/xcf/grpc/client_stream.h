// SPDX-License-Identifier: Apache-2.0
// A stream that this node dials.
#pragma once

#include <grpcpp/channel.h>

#include <memory>

#include "xcf/grpc/stream.h"

namespace testudo::xcf {

std::shared_ptr<Stream> dial(std::shared_ptr<grpc::Channel> channel, Executor& executor,
                             std::shared_ptr<facility::InFlight> in_flight, Stream::Limits limits);

}  // namespace testudo::xcf
