// SPDX-License-Identifier: Apache-2.0
#include "xcf/grpc/codec.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "base/secret.h"

namespace testudo::xcf {
namespace {

void zero_and_free(void* memory, std::size_t size) {
  auto* bytes = static_cast<std::uint8_t*>(memory);
  zero({bytes, size});
  delete[] bytes;
}

}  // namespace

grpc::ByteBuffer serialize(const v1::Envelope& message) {
  const std::size_t size = message.ByteSizeLong();
  auto* bytes = new std::uint8_t[size + 1];  // never empty
  CHECK(message.SerializeWithCachedSizesToArray(bytes) == bytes + size);
  const grpc::Slice slice(bytes, size, zero_and_free);
  return {&slice, 1};
}

bool parse(grpc::ByteBuffer& buffer, v1::Envelope& message) {
  grpc::ProtoBufferReader reader(&buffer);
  return reader.status().ok() && message.ParseFromZeroCopyStream(&reader);
}

}  // namespace testudo::xcf
