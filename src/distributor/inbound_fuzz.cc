// SPDX-License-Identifier: Apache-2.0
// What an outsider can send to the owner. Input: a list of packets, each a byte that says what it is, a byte of
// length, and that many bytes:
//   0 as they are, on UDP port 4500    1 as they are, on the raw port
//   2 ESP, with bits changed that the input names: never authentic, so nothing may come of it but forwarding
//   3 inner packet, protected by the peer, who may be hostile as well
//   4 the last genuine packet again    5 commit of the last number    6 time passes
// Whatever comes: a genuine packet is delivered here or forwarded, no number is delivered here twice, no forged
// packet is delivered or makes a connection.
#include <algorithm>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

#include "base/check.h"
#include "distributor/inbound_world_for_test.h"

namespace testudo::distributor {
namespace {

class Fuzz {
 public:
  void step(unsigned what, const Bytes& bytes) {
    switch (what) {
      case 0:
        return untrusted(world_.udp_one(bytes));
      case 1:
        return (void)world_.raw_one(bytes);
      case 2:
        return forged(bytes);
      case 3:
        return genuine(bytes);
      case 4:
        return again();
      case 5:
        return world_.commit(kT1, seq_, bytes.size() % 2 == 0);
      default:
        world_.now += std::chrono::seconds(bytes.size());
        return world_.inbound->tick(world_.now);
    }
  }

 private:
  /// From outside, without a key: it may be forwarded on trust, to be refused by the target, and no more.
  void untrusted(const Seen& seen) { CHECK(seen.kind != Verdict::Kind::kLocal); }

  void forged(const Bytes& bytes) {
    Bytes esp = world_.esp(ack(40000), seq_ + 1);
    const std::size_t at = bytes.empty() ? 8 : 8 + bytes[0] % (esp.size() - 8);
    for (std::size_t i = 0; i < std::max<std::size_t>(bytes.size(), 1) && at + i < esp.size(); ++i) {
      esp[at + i] = static_cast<std::uint8_t>(esp[at + i] ^ (i == 0 ? 1 : bytes[i]));
    }
    const std::size_t connections = world_.list().size();
    untrusted(world_.udp_one(esp));
    CHECK(world_.list().size() <= connections);
  }

  void genuine(const Bytes& bytes) {
    Bytes inner = packet_of({.flags = wire::kTcpSyn});
    std::copy_n(bytes.begin(), std::min(bytes.size(), inner.size()), inner.begin());
    last_ = world_.esp(inner, ++seq_);
    delivered_ = world_.udp_one(last_).kind == Verdict::Kind::kLocal;
  }

  void again() {
    if (last_.empty()) return;
    const bool local = world_.udp_one(last_).kind == Verdict::Kind::kLocal;
    CHECK(!(local && delivered_));
    delivered_ = delivered_ || local;
  }

  World world_{{.suite = crypto::Suite::kAesGcm128Icv16, .esn = false, .config = {.connections = {.capacity = 4}}}};
  Bytes last_;
  std::uint64_t seq_ = 0;
  bool delivered_ = false;
};

}  // namespace
}  // namespace testudo::distributor

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  testudo::distributor::Fuzz fuzz;
  std::span<const std::uint8_t> left(data, std::min<std::size_t>(size, 2000));
  while (left.size() >= 2) {
    const std::size_t length = std::min<std::size_t>(left[1], left.size() - 2);
    fuzz.step(left[0] % 7, {left.begin() + 2, left.begin() + 2 + static_cast<std::ptrdiff_t>(length)});
    left = left.subspan(2 + length);
  }
  return 0;
}
