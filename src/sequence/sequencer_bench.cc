// SPDX-License-Identifier: Apache-2.0
// Lease requests that one sequencer answers a second, datagrams parsed and built.
#include <benchmark/benchmark.h>

#include <array>

#include "sequence/sequencer.h"

namespace testudo::sequence {
namespace {

constexpr IpAddress kDvipa(1);
constexpr Epoch kEpoch(9);

/// `lessees` take turns; each asks for 8 numbers of each of 40 SAs in one datagram and returns what it had.
void requests(benchmark::State& state) {
  const auto lessees = static_cast<std::uint16_t>(state.range(0));
  constexpr std::uint64_t kSas = 40;
  Sequencer sequencer(NodeId(100), {});
  for (std::uint64_t sa = 1; sa <= kSas; ++sa) {
    sequencer.add_sa(SaId(sa),
                     {.dvipa = kDvipa, .epoch = kEpoch, .first = SeqNo(1), .peer_window = 128, .esn = true});
    sequencer.set_ceiling(SaId(sa), SeqNo(1ull << 60));
  }
  Time now{1s};
  std::uint64_t id = 0;
  wire::FastOutbox outbox;
  std::array<std::uint8_t, wire::kFastDatagramMax> buffer;
  std::uint64_t grants = 0;
  for (auto _ : state) {
    ++id;
    for (std::uint16_t lessee = 1; lessee <= lessees; ++lessee) {
      wire::FastWriter writer(buffer, {.type = wire::LeaseRequest::kType,
                                       .sender = NodeId(lessee),
                                       .incarnation = lessee,
                                       .dvipa = kDvipa,
                                       .epoch = kEpoch});
      for (std::uint64_t sa = 1; sa <= kSas; ++sa) {
        (void)writer.append(
            wire::LeaseRequest{.sa = SaId(sa), .id = id, .want = 8, .returned = id - 1, .last = SeqNo()});
      }
      sequencer.receive(*wire::FastMessage::parse(writer.bytes()), now, outbox);
      sequencer.tick(now, outbox);
      for (std::size_t i = 0; i < outbox.size(); ++i) {
        grants += wire::FastMessage::parse(outbox.datagram(i).bytes)->count();
      }
      outbox.clear();
      now += 50us;
    }
    sequencer.clear_events();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(id * lessees * kSas));
  state.counters["grants"] = benchmark::Counter(static_cast<double>(grants), benchmark::Counter::kIsRate);
}
BENCHMARK(requests)->Arg(1)->Arg(2)->Arg(8);

}  // namespace
}  // namespace testudo::sequence
