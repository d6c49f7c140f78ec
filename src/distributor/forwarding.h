// SPDX-License-Identifier: Apache-2.0
// What the GRE header of a forwarded packet says (spec C6, G5): the key field has the low 24 bits of the DVIPA's
// epoch and 8 flags; the sequence field the high half of the ESP or AH sequence number. Owner and target share this
// file.
//
//   gre.key = ForwardKey::of(dvipa.epoch, ForwardKey::kFiltered).field;
//   const ForwardKey key{gre->key};
//   if (!key.matches(dvipa.epoch)) return Drop::kStaleEpoch;
#pragma once

#include <cstdint>

#include "base/strong.h"

namespace testudo::distributor {

struct ForwardKey {
  static constexpr std::uint8_t kFiltered =
      1;                                     // the owner has authenticated and filtered it, or filtered a clear one
  static constexpr std::uint8_t kClear = 2;  // not under IPsec
  static constexpr std::uint8_t kReply = 4;  // the other way: a target asks the owner to protect and send it

  std::uint32_t field = 0;

  [[nodiscard]] static constexpr ForwardKey of(Epoch epoch, std::uint8_t flags) {
    return {static_cast<std::uint32_t>(epoch.value() << 8) | flags};
  }
  [[nodiscard]] constexpr bool filtered() const { return (field & kFiltered) != 0; }
  [[nodiscard]] constexpr bool reply() const { return (field & kReply) != 0; }
  [[nodiscard]] constexpr bool clear() const { return (field & kClear) != 0; }
  /// The 24 bits of the epoch are the same.
  [[nodiscard]] constexpr bool matches(Epoch epoch) const {
    return field >> 8 == static_cast<std::uint32_t>(epoch.value() & 0xffffff);
  }
};

}  // namespace testudo::distributor
