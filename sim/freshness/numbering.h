// SPDX-License-Identifier: Apache-2.0
// Numbering: how the targets of the simulation get their sequence numbers. Each scheme has a part at each target
// and one at the source (the sequencer, or a counter); the world carries mail between them and calls.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"
#include "sequence/lessee.h"
#include "sim/freshness/case.h"

namespace testudo::freshness {

/// To or from the target `host`.
struct Mail {
  std::size_t host = 0;
  std::vector<std::uint8_t> bytes;
};
using Mails = std::vector<Mail>;

class Numbering {
 public:
  Numbering() = default;
  Numbering(const Numbering&) = delete;
  Numbering& operator=(const Numbering&) = delete;
  virtual ~Numbering() = default;

  // At a target. Times are virtual; a scheme may run its hosts on clocks of their own.
  virtual void receive(const Mail& mail, Time now) = 0;
  virtual sequence::Numbers take(std::size_t host, std::uint32_t want, Time now) = 0;
  [[nodiscard]] virtual bool may_send(std::size_t host, const sequence::Numbers& numbers, Time now) const = 0;
  virtual void sent(std::size_t host, SeqNo last) = 0;
  virtual void end_turn(std::size_t host, Time now, Mails& out) = 0;
  /// When the host needs a turn without other cause.
  [[nodiscard]] virtual Time next_turn(std::size_t host) const = 0;

  // At the source.
  virtual void receive_at_source(const Mail& mail, Time now, Mails& out) = 0;
  virtual void source_turn(Time now, Mails& out) = 0;
  [[nodiscard]] virtual Time next_source_turn() const = 0;
  /// A packet is forwarded to the target, which will answer it.
  virtual void expect(std::size_t host, Time now, Mails& out) = 0;

  [[nodiscard]] virtual std::uint64_t granted() const = 0;
  virtual void count_offers(Result& result) const = 0;
};

std::unique_ptr<Numbering> make_leases(const Case& c);
std::unique_ptr<Numbering> make_counter(const Case& c);

}  // namespace testudo::freshness
