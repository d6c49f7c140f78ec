// SPDX-License-Identifier: Apache-2.0
// Sad: the SA cache of one worker (spec B2, B4), the owner's as well as a target's shadow cache. Made for a million
// SAs.
//
//   if (auto retired = sad.install(std::move(sa))) events.push(Retired{std::move(retired)});
//   ipsec::Sa* in = sad.find_inbound(spi, ipsec::Protocol::kEsp, source, dvipa);
//   ipsec::Sa* out = sad.find_outbound(tunnel);
//
//   for (…) sad.prefetch_inbound(spi, dvipa);   // a burst: first all of these,
//   for (…) sad.prefetch_sa(spi, dvipa);        // then these,
//   for (…) sa = sad.find_inbound(…);           // then these, then work
//
// Threads: the worker that owns it. Pointers stay valid until the SA is removed.
#pragma once

#include <absl/container/flat_hash_set.h>

#include <cstddef>
#include <memory>
#include <vector>

#include "base/address.h"
#include "base/strong.h"
#include "ipsec/inbound_index.h"
#include "ipsec/sa.h"

namespace testudo::ipsec {

class Sad {
 public:
  Sad() = default;
  Sad(Sad&&) = delete;
  ~Sad();

  /// Returns the SA that is not installed (any more), for the control thread to destroy, or null:
  /// - `sa` itself, when its id is installed already: the old one stays, with its replay window (a repeated push);
  /// - an inbound SA with another id and the same SPI and addresses: the newer one takes its place.
  [[nodiscard]] std::unique_ptr<Sa> install(std::unique_ptr<Sa> sa);
  /// Null: not installed.
  [[nodiscard]] std::unique_ptr<Sa> remove(SaId id);
  /// The peer of an SA is at another place of the same family (RFC 3948, RFC 4555): it is the same SA, with its
  /// replay window and its IVs. One that is not here is left alone. Returns an inbound SA that no packet could tell
  /// from it any more, and which makes way; else null.
  [[nodiscard]] std::unique_ptr<Sa> move(SaId id, const Path& path);

  /// Null: none. `remote`: source address of the outer header, `local`: its destination, the DVIPA. An SA with UDP
  /// encapsulation is found by SPI and `local` alone: a NAT may give the peer another address and port at any time
  /// (RFC 4301 section 4.1: the SPI alone is enough for a receiver that chose it).
  [[nodiscard]] Sa* find_inbound(Spi spi, Protocol protocol, IpAddress remote, IpAddress local) const {
    const auto is = [&](const Sa& sa) {
      return sa.spi() == spi && sa.local() == local && sa.protocol() == protocol &&
             (sa.remote() == remote || sa.udp_encapsulation());
    };
    if (last_found_ != nullptr && is(*last_found_)) return last_found_;
    Sa* found = inbound_.find(InboundIndex::hash(spi, local), is);
    if (found != nullptr) last_found_ = found;
    return found;
  }
  /// The outbound SA of this tunnel that was installed last and not removed (make before break). Null: none.
  [[nodiscard]] Sa* find_outbound(TunnelId tunnel) const {
    return tunnel.value() < outbound_.size() ? outbound_[tunnel.value()] : nullptr;
  }
  [[nodiscard]] Sa* find(SaId id) const;

  /// Asks the CPU for the part of the index that prefetch_sa() and find_inbound() will read. Only a hint.
  void prefetch_inbound(Spi spi, IpAddress local) const { inbound_.prefetch(InboundIndex::hash(spi, local)); }
  /// Asks it for the SA, whose address lies in the index.
  void prefetch_sa(Spi spi, IpAddress local) const {
    if (const Sa* sa = inbound_.guess(InboundIndex::hash(spi, local))) sa->prefetch();
  }
  /// The same for what only looks at packets.
  void prefetch_sa_peek(Spi spi, IpAddress local) const {
    if (const Sa* sa = inbound_.guess(InboundIndex::hash(spi, local))) sa->prefetch_peek();
  }
  /// The same as prefetch_inbound() for find_outbound().
  void prefetch_outbound(TunnelId tunnel) const {
    if (tunnel.value() < outbound_.size()) __builtin_prefetch(&outbound_[tunnel.value()]);
  }

  [[nodiscard]] std::size_t size() const { return by_id_.size(); }
  /// f(Sa&), in no order; f installs and removes none.
  template <typename F>
  void for_each(F f) const {
    for (Sa* sa : by_id_) f(*sa);
  }

 private:
  /// Whether no packet could tell the SAs apart.
  static bool same(const Sa& a, const Sa& b) {
    return a.spi() == b.spi() && a.local() == b.local() && a.protocol() == b.protocol() &&
           a.udp_encapsulation() == b.udp_encapsulation() && (a.udp_encapsulation() || a.remote() == b.remote());
  }
  [[nodiscard]] Sa* find_same(const Sa& sa) const;

  struct IdHash {
    using is_transparent = void;
    std::size_t operator()(SaId id) const { return absl::Hash<SaId>{}(id); }
    std::size_t operator()(const Sa* sa) const { return absl::Hash<SaId>{}(sa->id()); }
  };
  struct IdEqual {
    using is_transparent = void;
    bool operator()(const Sa* sa, SaId id) const { return sa->id() == id; }
    bool operator()(const Sa* a, const Sa* b) const { return a == b; }
  };

  absl::flat_hash_set<Sa*, IdHash, IdEqual> by_id_;  // owned
  InboundIndex inbound_;
  mutable Sa* last_found_ = nullptr;  // in inbound_: packets of one SA often come together
  std::vector<Sa*> outbound_;         // by TunnelId: the newest one, from which Sa::older_ leads on
};

}  // namespace testudo::ipsec
