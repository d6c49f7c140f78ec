// SPDX-License-Identifier: Apache-2.0
// What the facility holds, as somebody else may have written it. Input: one letter that says which record, then its
// value. What is accepted is written in a way that is read as the same; what is refused has a reason.
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "vipa/membership.h"
#include "vipa/ownership.h"

namespace testudo::vipa {
namespace {

template <typename Read>
void run(const Read& read, const std::string& text) {
  const auto record = read(text);
  if (!record) {
    CHECK(!record.error().message.empty());
    return;
  }
  const auto again = read(record->to_json());
  CHECK(again.has_value() && again->to_json() == record->to_json());
}

}  // namespace
}  // namespace testudo::vipa

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace testudo;
  using namespace testudo::vipa;
  if (size == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0]) {
    case 'm':
      run([](const std::string& t) { return MemberRecord::from_json(t); }, text);
      break;
    case 'o':
      run([](const std::string& t) { return OwnerRecord::from_json(IpAddress(0xc0000264), t); }, text);
      break;
    case 'b':
      run([](const std::string& t) { return BackupRecord::from_json(t); }, text);
      break;
    default:
      break;
  }
  return 0;
}
