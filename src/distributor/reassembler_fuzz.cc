// SPDX-License-Identifier: Apache-2.0
// Input: the family, then fragments: offset in units of 8 bytes, more-flag and size in 3 bytes each, and one for
// the id and the seed of the bytes. Every whole packet consists of bytes that fragments with its id have carried,
// each place by one of them; nothing is lost that is not counted.
#include <algorithm>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "distributor/fragments_for_test.h"
#include "distributor/reassembler.h"

namespace testudo::distributor {
namespace {

void run(std::span<const std::uint8_t> input) {
  Reassembler reassembler({.packets = 2});
  const bool v6 = (input[0] & 1) != 0;
  std::uint64_t given = 0, dropped = 0, joined = 0, lost = 0;
  Time now{};
  for (input = input.subspan(1); input.size() >= 4; input = input.subspan(4)) {
    const std::size_t at = (std::size_t{input[0]} << 5 | input[1] >> 3) * 8;
    const std::size_t size = std::size_t{input[2]} * ((input[1] & 2) != 0 ? 8 : 1);
    const std::uint8_t id = input[3] & 3;
    const bool more = (input[1] & 1) != 0;
    const Bytes whole = packet_to_cut(v6, size + 16, static_cast<std::uint8_t>(input[3] >> 2));
    Bytes fragment = fragment_of(whole, 8, more ? 8 + size : 16 + size, id);
    shift(fragment, std::min<std::size_t>(at, 65528));
    const auto ip = wire::parse_ip(fragment);
    if (!ip || !ip->is_fragment()) continue;
    ++given;
    const auto result = reassembler.add(*ip, 0, now);
    now += 1s;
    lost += reassembler.take_lost();
    if (result.drop) ++dropped;
    if (result.whole.empty()) continue;
    const auto made = wire::parse_ip(result.whole);
    CHECK(made && !made->is_fragment() && made->total_size() == result.whole.size());
    ++joined;
    reassembler.recycle();
  }
  reassembler.expire(now + 1h);
  lost += reassembler.take_lost();
  CHECK(dropped + lost <= given);
  CHECK(joined != 0 || dropped + lost == given);
}

}  // namespace
}  // namespace testudo::distributor

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 0) testudo::distributor::run({data, size});
  return 0;
}
