// SPDX-License-Identifier: Apache-2.0
// Memory of a million idle SAs and of a million connections, in bytes each: how much more of it is resident, keys
// that are locked included; and what malloc has handed out, which counts memory that is reserved but was never
// touched. Each figure comes from a process of its own, because locked pages are never given back.
//   bench_memory OUT.json
#include <malloc.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/engine.h"
#include "bench/in_child.h"
#include "distributor/connection_table.h"
#include "ipsec/sa_for_test.h"
#include "ipsec/sad.h"
#include "sequence/lessee.h"
#include "sequence/sequencer.h"

namespace testudo::bench {
namespace {

constexpr std::uint32_t kCount = 1'000'000;

/// A line of /proc/self/status that is in kB.
double status_bytes(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return 1024.0 * std::atof(line.c_str() + field.size() + 1);
  }
  return 0;
}

struct Use {
  double resident = 0, heap = 0, locked = 0;  // bytes
};

Use use_now() {
  const struct mallinfo2 info = mallinfo2();
  return {.resident = status_bytes("VmRSS"),
          .heap = static_cast<double>(info.uordblks + info.hblkhd),
          .locked = status_bytes("VmLck")};
}

Use since(const Use& before) {
  const Use now = use_now();
  return {.resident = (now.resident - before.resident) / kCount,
          .heap = (now.heap - before.heap) / kCount,
          .locked = (now.locked - before.locked) / kCount};
}

Use idle_sas(Direction direction) {
  ipsec::SaFactory factory(0xabcdef);
  ipsec::Sad sad;
  const Use before = use_now();
  for (std::uint32_t i = 0; i < kCount; ++i) {
    auto sa = factory.create(parameters_of(kSuites[0], direction, i));
    CHECK(sa.has_value() && sad.install(std::move(*sa)) == nullptr);
  }
  return since(before);
}

Use leased_sas() {
  sequence::Lessee lessee(NodeId(1), 1, {.sas_max = 1});
  const Use before = use_now();
  for (std::uint32_t i = 0; i < kCount; ++i) {
    lessee.add_sa(SaId(i + 1), {.dvipa = IpAddress(kLocal), .epoch = Epoch(1), .owner = NodeId(1)});
  }
  return since(before);
}

Use sequenced_sas() {
  sequence::Sequencer sequencer(NodeId(1), {.sas_max = 1});
  const Use before = use_now();
  for (std::uint32_t i = 0; i < kCount; ++i) {
    sequencer.add_sa(SaId(i + 1), {.dvipa = IpAddress(kLocal), .epoch = Epoch(1), .first = SeqNo(1)});
  }
  return since(before);
}

IpAddress client(std::uint32_t n, bool v6) {
  if (!v6) return IpAddress(0x0b000000 + n / 64);
  std::array<std::uint8_t, 16> bytes{0x20, 0x01, 0x0d, 0xb8};
  for (unsigned i = 0; i < 4; ++i) bytes[12 + i] = static_cast<std::uint8_t>(n / 64 >> (24 - 8 * i));
  return IpAddress(std::span<const std::uint8_t, 16>(bytes));
}

Use connections(bool v6) {
  const Use before = use_now();
  distributor::ConnectionTable table({.capacity = kCount}, distributor::SipKey{1, 2});
  const IpAddress dvipa = client(0x00ffffff, v6);
  for (std::uint32_t n = 0; n < kCount; ++n) {
    const distributor::ConnectionKey key{.client = {client(n, v6), static_cast<std::uint16_t>(1024 + n % 64)},
                                         .dvipa = {dvipa, 443}};
    CHECK(table.insert(key, table.hash(key), NodeId(2), ipsec::TunnelId(1), Time{}) != nullptr);
  }
  CHECK(table.size() == kCount);
  return since(before);
}

template <typename Measure>
bool apart(const char* name, Measure measure, std::string& json) {
  const auto use = in_child(measure);
  if (!use) return std::fprintf(stderr, "bench: error: %s died\n", name), false;
  std::printf("%-28s %7.1f bytes resident: %7.1f on the heap, %7.1f locked\n", name, use->resident, use->heap,
              use->locked);
  json += (json.empty() ? "{\n \"" : ",\n \"") + std::string(name) +
          "\": {\"resident\": " + std::to_string(use->resident) + ", \"heap\": " + std::to_string(use->heap) +
          ", \"locked\": " + std::to_string(use->locked) + "}";
  return true;
}

int run(const char* path) {
  std::string json;
  bool good = apart(
      "idle inbound SA", [] { return idle_sas(Direction::kInbound); }, json);
  good &= apart(
      "idle outbound SA", [] { return idle_sas(Direction::kOutbound); }, json);
  good &= apart(
      "lessee of an outbound SA", [] { return leased_sas(); }, json);
  good &= apart(
      "sequencer of an outbound SA", [] { return sequenced_sas(); }, json);
  good &= apart(
      "IPv4 connection", [] { return connections(false); }, json);
  good &= apart(
      "IPv6 connection", [] { return connections(true); }, json);
  std::ofstream(path) << json << "\n}\n";
  return good ? 0 : 1;
}

}  // namespace
}  // namespace testudo::bench

int main(int argc, char** argv) { return testudo::bench::run(argc > 1 ? argv[1] : "/dev/null"); }
