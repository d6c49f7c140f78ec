// SPDX-License-Identifier: Apache-2.0
// Whatever parses is written back byte for byte.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "wire/fast.h"

namespace testudo::wire {
namespace {

template <typename Entry>
void write_back(const FastMessage& message, std::span<const std::uint8_t> bytes) {
  std::array<std::uint8_t, kFastDatagramMax> buffer;
  FastWriter writer(buffer, message.header());
  for (std::size_t i = 0; i < message.count(); ++i) CHECK(writer.append(message.entry<Entry>(i)));
  CHECK(std::ranges::equal(writer.bytes(), bytes));
}

void check(std::span<const std::uint8_t> bytes) {
  const auto message = FastMessage::parse(bytes);
  if (!message) return;
  switch (message->header().type) {
    case FastType::kLeaseRequest:
      return write_back<LeaseRequest>(*message, bytes);
    case FastType::kLeaseGrant:
      return write_back<LeaseGrant>(*message, bytes);
    case FastType::kLeaseRecall:
      return write_back<LeaseRecall>(*message, bytes);
    case FastType::kLeaseReturn:
      return write_back<LeaseReturn>(*message, bytes);
    case FastType::kReplayCommit:
      return write_back<ReplayCommit>(*message, bytes);
    case FastType::kPathMtu:
      return write_back<PathMtu>(*message, bytes);
    case FastType::kLeaseOffer:
      return write_back<LeaseOffer>(*message, bytes);
  }
}

}  // namespace
}  // namespace testudo::wire

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  testudo::wire::check({data, size});
  return 0;
}
