// SPDX-License-Identifier: Apache-2.0
// Outbound half of the engine under test: see engine.h.
#pragma once

#include <memory>
#include <vector>

#include "bench/contender.h"
#include "ipsec/sad.h"
#include "ipsec/transforms.h"
#include "sequence/lessee.h"
#include "wire/packet.h"

namespace testudo::bench {

class OutboundEngine final : public Contender {
 public:
  explicit OutboundEngine(const Case& which);
  void load(const Turn& turn) override;
  std::size_t run() override;

 private:
  static constexpr std::size_t kSlot = 2048;  // the most bytes that a packet takes in the train
  struct Input {
    ipsec::TunnelId tunnel;
    std::span<const std::uint8_t> bytes;
  };
  void find(std::span<const Input> packets, std::span<ipsec::Sa*> sas);
  std::size_t burst(std::span<const Input> packets);
  [[nodiscard]] bool take_numbers(SaId sa, std::size_t want);
  void gather(ipsec::Sa& sa, std::span<const Input> packets);
  void fill(const ipsec::EncapRequest& request, wire::Outgoing& out);
  void renew_leases();

  SeededRng rng_{4};
  std::unique_ptr<ipsec::Transforms> transforms_;
  ipsec::SaFactory factory_{0xabcdef};
  ipsec::Sad sad_;
  sequence::Lessee lessee_;
  wire::FastOutbox outbox_;
  Time now_{1h};
  std::vector<std::uint64_t> next_;      // number to be granted, by SaId
  std::vector<ipsec::TunnelId> tunnel_;  // by SA
  SaId numbers_sa_;
  sequence::Numbers numbers_;
  std::vector<std::uint8_t> room_;  // the packets of a turn
  std::array<Input, kTurn> inputs_;
  std::unique_ptr<std::uint8_t[]> train_;
  std::array<ipsec::EncapRequest, kBurst> requests_;
  std::size_t requests_count_ = 0;
  std::size_t used_ = 0;  // bytes of the train
  std::array<wire::Outgoing, kBurst> outgoing_;
  std::uint16_t next_ip_id_ = 0;
  Counter packets_, bytes_;
};

}  // namespace testudo::bench
