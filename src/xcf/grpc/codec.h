// SPDX-License-Identifier: Apache-2.0
// Envelopes as gRPC carries them. The serialized form may hold keys: its memory is zeroed when gRPC frees it.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include "xcf/messages.pb.h"

namespace testudo::xcf {

grpc::ByteBuffer serialize(const v1::Envelope& message);
/// False: not an Envelope.
bool parse(grpc::ByteBuffer& buffer, v1::Envelope& message);

}  // namespace testudo::xcf
