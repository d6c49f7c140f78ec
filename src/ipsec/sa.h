// SPDX-License-Identifier: Apache-2.0
// Sa: one security association as a worker uses it: parameters, keys, and the state that changes with each packet.
//
//   ipsec::SaFactory factory(incarnation);                                  // control
//   Result<std::unique_ptr<ipsec::Sa>> sa = factory.create(parameters);
//   commands.push(InstallSa{std::move(*sa)});                               // from here on it is the worker's
//
//   transforms.encap(burst);                                                // ipsec/transforms.h
//   if (!sa.carry(inner_bytes)) return drop(Drop::kLifesize);               // whoever sends or accepts the packet
//
// Threads: made and destroyed on the control thread, in between the worker's alone; totals() may be read anywhere
// as long as the object lives. A queue (base/bounded_queue.h) between the two orders their accesses.
//
// There may be a million of them: every byte counts. What a packet needs lies in the first three cache lines; with
// a hard limit of bytes or packets in the fourth as well. The keys are raw; what is expanded of them is in the
// worker's crypto::ContextCache.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "base/drop.h"
#include "base/result.h"
#include "crypto/context_cache.h"
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

/// Sizes of what an SA's packets are made of, in bytes.
struct Shape {
  std::uint8_t ah = 0;                   // the whole AH header; 0: none
  std::uint8_t ah_iv = 0, ah_icv = 0;    // within it
  std::uint8_t esp_iv = 0, esp_icv = 0;  // of ESP, also of the one behind the AH header
  std::uint8_t esp_block = 0;            // 0: no ESP
  [[nodiscard]] constexpr bool has_ah() const { return ah != 0; }
  [[nodiscard]] constexpr bool has_esp() const { return esp_block != 0; }
};

/// Where an SA's packets come from or go to, outside: what changes when its peer moves.
struct Path {
  Endpoint remote;               // port: with udp_encapsulation
  std::uint16_t local_port = 0;  // with udp_encapsulation
  bool udp_encapsulation = false;
};

class alignas(64) Sa {
 public:
  /// From blocks of many: each by itself would take 320 bytes, for the alignment's sake. What was given back is
  /// used again. Any thread.
  static void* operator new(std::size_t size);
  static void operator delete(void* memory);

  [[nodiscard]] SaId id() const { return id_; }
  [[nodiscard]] Spi spi() const { return spi_; }
  [[nodiscard]] Protocol protocol() const { return protocol_; }
  [[nodiscard]] bool inbound() const { return !outbound_; }
  [[nodiscard]] bool transport() const { return transport_; }
  [[nodiscard]] bool esn() const { return esn_; }
  [[nodiscard]] IpAddress local() const { return local_; }
  [[nodiscard]] IpAddress remote() const { return remote_; }
  [[nodiscard]] bool udp_encapsulation() const { return udp_encapsulation_; }
  [[nodiscard]] Endpoint local_endpoint() const { return {local_, local_port_}; }
  [[nodiscard]] Endpoint remote_endpoint() const { return {remote_, remote_port_}; }
  [[nodiscard]] DontFragment dont_fragment() const { return static_cast<DontFragment>(dont_fragment_); }
  [[nodiscard]] bool copy_dscp() const { return copy_dscp_; }
  [[nodiscard]] TunnelId tunnel() const { return tunnel_; }
  [[nodiscard]] std::uint32_t replay_window() const { return replay_.size(); }
  [[nodiscard]] const Shape& shape() const { return shape_; }
  /// Of the outermost header.
  [[nodiscard]] crypto::Suite suite() const { return key_.suite(); }
  [[nodiscard]] bool has_inner_esp() const { return inner_ != nullptr; }
  /// Its ESP hides what it carries: neither AH alone nor NULL and GMAC do.
  [[nodiscard]] bool encrypts() const {
    if (!shape_.has_esp()) return false;
    const crypto::Mode mode = crypto::mode_of(inner_ ? inner_->key.suite() : key_.suite());
    return mode != crypto::Mode::kNull && mode != crypto::Mode::kGmac;
  }
  /// Everything, but empty keys and an empty tunnel name. Takes its time: not for packets.
  [[nodiscard]] SaParameters parameters() const;

  /// Inbound only.
  [[nodiscard]] ReplayWindow& replay() { return replay_; }
  /// Inbound only. The full number of a packet from the 32 bits in its header.
  [[nodiscard]] SeqNo full_sequence(std::uint32_t low) const {
    return esn_ ? infer_sequence(replay_.newest(), replay_.size(), low) : SeqNo(low);
  }

  /// Whoever sends a packet, or commits the number of one that is authentic, says so, once: replayed and forged
  /// packets age nothing (spec D1, E4).
  void count(std::uint64_t inner_bytes) {
    totals_.bytes.add(inner_bytes);
    totals_.packets.add();
  }
  /// The same, if this node may carry the packet. False: it must not be carried, and is not counted.
  [[nodiscard]] bool carry(std::uint64_t inner_bytes) {
    if (limited_ && !within(inner_bytes)) return false;
    count(inner_bytes);
    return true;
  }
  /// How much this node may carry of it in all: its share of the hard limits, which are for all hosts together.
  /// Before the first call: the whole. Any thread. Without hard limits of bytes and packets it changes nothing.
  void allow(const Lifesize& most);
  /// carry() has said no since the last allow(). Any thread.
  [[nodiscard]] bool refused() const { return (allowed_bytes_.load(std::memory_order_relaxed) & kRefused) != 0; }
  struct Totals {
    Counter bytes, packets;
  };
  [[nodiscard]] const Totals& totals() const { return totals_; }

  /// With UDP encapsulation: an authentic packet came from here, which is not where the peer was, for a NAT on the
  /// way has forgotten it (RFC 3948 section 4, RFC 7296 section 2.23). False for every other SA, and for a packet
  /// without UDP. Ask only after Transforms::decap() found it authentic and its number is new.
  [[nodiscard]] bool moved(Endpoint source) const {
    return udp_encapsulation_ && source.port != 0 && source != remote_endpoint();
  }
  /// What is sent goes there from now on. Only with UDP encapsulation (CHECKed), within one family; the look-up of
  /// inbound ones does not depend on it (ipsec/sad.h). The other direction's SA must be told as well.
  void set_remote_endpoint(Endpoint remote);

  /// A stage's own state of an inbound SA, to be found without another look-up. Null: none. Set and cleared by
  /// the one stage that uses it.
  [[nodiscard]] void* stage_state() const { return outbound_ ? nullptr : stage_state_; }
  void set_stage_state(void* state) {
    if (!outbound_) stage_state_ = state;
  }

  /// Asks the CPU for what the next packet needs.
  void prefetch() const {
    prefetch_peek();
    __builtin_prefetch(reinterpret_cast<const std::uint8_t*>(this) + 64, 1);
  }
  /// For what looks at packets only, and leaves window and counters alone.
  void prefetch_peek() const {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(this);
    __builtin_prefetch(bytes);
    __builtin_prefetch(bytes + 2 * 64);
  }

 private:
  friend class SaFactory;
  friend class Sad;
  friend class Transforms;
  void set_path(const Path& path);  // the Sad's: look-up depends on it
  /// What is behind the AH header.
  struct Inner {
    Spi spi;
    crypto::CipherKey key;
  };
  Sa(const SaParameters& parameters, TunnelId tunnel, crypto::CipherKey key, std::unique_ptr<Inner> inner);

  static constexpr std::uint64_t kRefused = std::uint64_t{1} << 63;  // of allowed_bytes_, beside the number
  static constexpr std::uint64_t kUnlimited = kRefused - 1;
  [[nodiscard]] bool within(std::uint64_t inner_bytes);

  [[nodiscard]] Spi esp_spi() const { return inner_ ? inner_->spi : spi_; }
  [[nodiscard]] crypto::CipherKey& esp_key() { return inner_ ? inner_->key : key_; }

  // First line: what is looked up and what the packet looks like.
  IpAddress remote_, local_;
  SaId id_;
  Spi spi_;
  TunnelId tunnel_;
  std::unique_ptr<Inner> inner_;
  Protocol protocol_;
  bool outbound_ : 1, transport_ : 1, esn_ : 1, udp_encapsulation_ : 1, copy_dscp_ : 1;
  bool limited_ : 1;  // there is a hard limit of bytes or packets
  std::uint8_t dont_fragment_ : 2;
  Shape shape_;
  // Second line: what changes.
  ReplayWindow replay_;  // outbound: only its size
  Totals totals_;
  // Third line: keys.
  crypto::CipherKey key_;
  IvHandle iv_counter_;  // outbound, suites that need unique IVs
  std::uint16_t local_port_, remote_port_;
  std::uint32_t reqid_;
  union {
    Sa* older_ = nullptr;  // outbound: the Sad's, SAs of one tunnel
    void* stage_state_;    // inbound
  };
  // Fourth line: only control reads it, but for what limited_ asks for.
  LifesizeLimits limits_;
  std::atomic<std::uint64_t> allowed_bytes_, allowed_packets_;
};
static_assert(sizeof(Sa) == 256);

/// Makes the SAs of one worker. Threads: control.
class SaFactory {
 public:
  /// `incarnation`: unique in the cluster per worker and start, CHECKed to be less than 2^24.
  explicit SaFactory(std::uint32_t incarnation) : ivs_(incarnation) {}

  /// Fails with what is wrong in the parameters: key size, window size, a reserved SPI, missing addresses or
  /// tunnel, combinations that do not exist.
  [[nodiscard]] Result<std::unique_ptr<Sa>> create(SaParameters parameters);

  /// The names that filters and SAs share.
  [[nodiscard]] TunnelNames& tunnels() { return tunnels_; }
  [[nodiscard]] const TunnelNames& tunnels() const { return tunnels_; }
  /// The SA is removed: its IV counter need not be kept apart any more. Safe even if the SA comes again.
  void forget(SaId sa) { ivs_.forget(sa); }

 private:
  IvSpace ivs_;
  TunnelNames tunnels_;
};

}  // namespace testudo::ipsec
