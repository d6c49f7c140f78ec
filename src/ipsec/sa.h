// SPDX-License-Identifier: Apache-2.0
// Sa: one security association as a worker uses it: parameters, expanded keys, and the state that changes with each
// packet.
//
//   ipsec::SaFactory factory(std::move(*crypto::make_engine(crypto::Backend::kBest)), incarnation, rng);  //
//   control Result<std::unique_ptr<ipsec::Sa>> sa = factory.create(parameters);
//   commands.push(InstallSa{std::move(*sa)});                               // from here on it is the worker's
//
// Threads: made and destroyed on the control thread, in between the worker's alone; totals() may be read anywhere
// as long as the object lives. A queue (base/bounded_queue.h) between the two orders their accesses.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "base/drop.h"
#include "base/result.h"
#include "base/rng.h"
#include "crypto/engine.h"
#include "crypto/random_stream.h"
#include "ipsec/iv.h"
#include "ipsec/replay_window.h"
#include "ipsec/sa_parameters.h"
#include "ipsec/tunnel.h"

namespace testudo::ipsec {

/// Of inner packets.
struct Lifesize {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  friend bool operator==(const Lifesize&, const Lifesize&) = default;
};

class Sa {
 public:
  [[nodiscard]] const SaParameters& parameters() const { return parameters_; }
  [[nodiscard]] SaId id() const { return parameters_.id; }
  [[nodiscard]] bool inbound() const { return parameters_.direction == Direction::kInbound; }
  [[nodiscard]] TunnelId tunnel() const { return tunnel_; }
  [[nodiscard]] const crypto::CipherContext& cipher() const { return *cipher_; }

  /// Inbound only.
  [[nodiscard]] ReplayWindow& replay() { return *replay_; }
  /// Inbound only. The full number of a packet from the 32 bits in its header.
  [[nodiscard]] SeqNo full_sequence(std::uint32_t low) const;

  /// Outbound only. Writes the next IV of the suite's size; false: this worker has no IV left for this SA.
  [[nodiscard]] bool next_iv(std::span<std::uint8_t> out);

  /// Encapsulation and decapsulation count what they protected or found authentic (spec D1, E4).
  void count(std::uint64_t inner_bytes);
  struct Totals {
    Counter bytes, packets;
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }
  /// What was counted since the last take.
  [[nodiscard]] Lifesize unreported() const;
  Lifesize take_unreported();

 private:
  friend class SaFactory;
  explicit Sa(SaParameters parameters) : parameters_(std::move(parameters)) {}

  SaParameters parameters_;  // its key is empty: only the expanded one is kept
  TunnelId tunnel_;
  crypto::OwnedContext cipher_;
  std::optional<ReplayWindow> replay_;             // inbound
  std::shared_ptr<IvCounter> iv_counter_;          // outbound, AEAD and CTR
  std::optional<crypto::RandomStream> iv_stream_;  // outbound, CBC
  Totals totals_;
  Lifesize reported_;
};

/// Makes the SAs of one worker. Threads: control.
class SaFactory {
 public:
  /// `engine`: of the worker's backend, but not the worker's own. `incarnation`: unique in the cluster per worker
  /// and start, CHECKed to be less than 2^24. `rng` must outlive the factory.
  SaFactory(std::unique_ptr<crypto::Engine> engine, std::uint32_t incarnation, Rng& rng);

  /// Fails with what is wrong in the parameters: key size, window size, a reserved SPI, missing addresses or
  /// tunnel. The key ends in the expanded form; the Sa's parameters() do not have it any more.
  [[nodiscard]] Result<std::unique_ptr<Sa>> create(SaParameters parameters);

  /// The names that filters and SAs share.
  [[nodiscard]] TunnelNames& tunnels() { return tunnels_; }
  /// The SA is removed: its IV counter need not be kept apart any more. Safe even if the SA comes again.
  void forget(SaId sa) { ivs_.forget(sa); }
  /// Of the engine that workers must use with these SAs.
  [[nodiscard]] crypto::Backend backend() const { return engine_->backend(); }

 private:
  std::unique_ptr<crypto::Engine> engine_;  // for key expansion only
  IvSpace ivs_;
  TunnelNames tunnels_;
  Rng& rng_;
};

}  // namespace testudo::ipsec
