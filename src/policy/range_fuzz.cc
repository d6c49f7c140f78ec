// SPDX-License-Identifier: Apache-2.0
// Addresses, prefixes, endpoints and address ranges as people write them: whatever is accepted is written in a way
// that is read as the same, and what contains an address is found by its text as by its value.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/address.h"
#include "base/check.h"
#include "policy/range.h"

namespace testudo::policy {
namespace {

template <typename T>
Result<T> read(std::string_view text) {
  Result<T> value = T::parse(text);
  if (!value) {
    CHECK(!value.error().message.empty());
    return value;
  }
  const Result<T> again = T::parse(value->to_string());
  CHECK(again.has_value() && *again == *value);
  return value;
}

void run(std::string_view text) {
  if (const auto address = read<IpAddress>(text)) {
    CHECK(IpAddress::from_bytes(address->to_bytes()) == *address);
    CHECK(IpPrefix::parse(text) == (IpPrefix{*address, address->bits()}));
  }
  if (const auto prefix = read<IpPrefix>(text)) {
    CHECK(prefix->contains(prefix->first()) && prefix->contains(prefix->last()));
    CHECK(AddressRange::parse(text) == AddressRange(*prefix));
  }
  if (const auto range = read<AddressRange>(text)) {
    CHECK(range->first <= range->last && range->contains(range->first) && range->contains(range->last));
  }
  static_cast<void>(read<Endpoint>(text));
}

}  // namespace
}  // namespace testudo::policy

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  testudo::policy::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
