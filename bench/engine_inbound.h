// SPDX-License-Identifier: Apache-2.0
// Inbound half of the engine under test: see engine.h.
#pragma once

#include <memory>
#include <vector>

#include "bench/contender.h"
#include "ipsec/sad.h"
#include "ipsec/transforms.h"
#include "wire/packet.h"

namespace testudo::bench {

class InboundEngine final : public Contender {
 public:
  explicit InboundEngine(const Case& which);
  void load(const Turn& turn) override;
  std::size_t run() override;

 private:
  std::size_t burst(std::span<const wire::Packet> packets);
  void prefetch(const wire::Packet& packet);
  bool find(const wire::Packet& packet, ipsec::DecapRequest& request);
  std::size_t check(std::span<ipsec::DecapRequest> requests);
  bool finish(ipsec::DecapRequest& request, wire::Outgoing& out);
  void drop(Drop reason) { drops_.count(reason); }

  SeededRng rng_{4};
  std::unique_ptr<ipsec::Transforms> transforms_;
  ipsec::SaFactory factory_{0xabcdef};
  ipsec::Sad sad_;
  DropCounters drops_;
  std::vector<std::uint8_t> room_;  // the packets of a turn
  std::array<wire::Packet, kTurn> packets_;
  std::array<ipsec::DecapRequest, kBurst> requests_;
  const ipsec::Sa* last_ = nullptr;
  Spi asked_for_{};
  std::array<wire::Outgoing, kBurst> outgoing_;
  Counter decrypted_packets_, decrypted_bytes_;
};

}  // namespace testudo::bench
