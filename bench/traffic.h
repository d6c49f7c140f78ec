// SPDX-License-Identifier: Apache-2.0
// Traffic: the packets that all contenders get: of one SA, or of many in random order. Inbound packets are sealed
// here, each with the next number of its SA, so no contender ever sees one twice.
#pragma once

#include <memory>
#include <vector>

#include "bench/contender.h"
#include "ipsec/transforms.h"

namespace testudo::bench {

/// The peers' ends of the SAs of one suite.
class Senders {
 public:
  Senders(const Suite& suite, std::uint32_t sas);
  /// Puts outer header and ESP around inner packets of one size. Their bytes are in `room` then.
  void seal(std::span<TurnPacket> packets, std::vector<std::uint8_t>& room);
  [[nodiscard]] std::uint32_t sas() const { return static_cast<std::uint32_t>(sas_.size()); }

 private:
  SeededRng rng_{3};
  std::unique_ptr<ipsec::Transforms> transforms_;
  ipsec::SaFactory factory_{0x111111};
  std::vector<std::unique_ptr<ipsec::Sa>> sas_;
  std::vector<std::uint64_t> next_;  // sequence number, by SA
};

/// Reproducible.
class Dice {
 public:
  std::uint32_t below(std::uint32_t end) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::uint32_t>((state_ >> 32) * end >> 32);
  }

 private:
  std::uint64_t state_ = 88172645463325252;
};

class Traffic {
 public:
  /// `inner_size`: bytes of the inner packets.
  Traffic(Senders& senders, Direction direction, std::size_t inner_size);
  const Turn& next();

 private:
  Senders& senders_;
  Direction direction_;
  std::vector<std::uint8_t> inner_, room_;
  Dice dice_;
  Turn turn_;
};

}  // namespace testudo::bench
