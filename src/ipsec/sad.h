// SPDX-License-Identifier: Apache-2.0
// Sad: the SA cache of one worker (spec B2, B4), the owner's as well as a target's shadow cache.
//
//   if (auto retired = sad.install(std::move(sa))) events.push(Retired{std::move(retired)});
//   ipsec::Sa* in = sad.find_inbound(spi, source, dvipa);
//   ipsec::Sa* out = sad.find_outbound(tunnel);
//
// Threads: the worker that owns it. Pointers stay valid until the SA is removed.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/strong.h"
#include "ipsec/sa.h"

namespace testudo::ipsec {

class Sad {
 public:
  /// Returns the SA that is not installed (any more), for the control thread to destroy, or null:
  /// - `sa` itself, when its id is installed already: the old one stays, with its replay window (a repeated push);
  /// - an inbound SA with another id and the same SPI and addresses: the newer one takes its place.
  [[nodiscard]] std::unique_ptr<Sa> install(std::unique_ptr<Sa> sa);
  /// Null: not installed.
  [[nodiscard]] std::unique_ptr<Sa> remove(SaId id);

  /// Null: none. Protocol ESP. `remote`: source address of the outer header, `local`: its destination, the DVIPA.
  [[nodiscard]] Sa* find_inbound(Spi spi, IpAddress remote, IpAddress local) const;
  /// The outbound SA of this tunnel that was installed last and not removed (make before break). Null: none.
  [[nodiscard]] Sa* find_outbound(TunnelId tunnel) const;
  [[nodiscard]] Sa* find(SaId id) const;

  /// In the order of installation.
  [[nodiscard]] std::span<const std::unique_ptr<Sa>> all() const { return all_; }

 private:
  struct InboundKey {
    Spi spi;
    IpAddress remote, local;
    friend bool operator==(const InboundKey&, const InboundKey&) = default;
    template <typename H>
    friend H AbslHashValue(H h, const InboundKey& k) {
      return H::combine(std::move(h), k.spi, k.remote, k.local);
    }
  };
  static InboundKey key_of(const Sa& sa);

  std::vector<std::unique_ptr<Sa>> all_;
  absl::flat_hash_map<SaId, Sa*> by_id_;
  absl::flat_hash_map<InboundKey, Sa*> inbound_;
  std::vector<std::vector<Sa*>> outbound_;  // by TunnelId; the last one is the newest
};

}  // namespace testudo::ipsec
