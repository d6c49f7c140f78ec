// SPDX-License-Identifier: Apache-2.0
// InboundIndex: the inbound SAs of a Sad by what their packets show. The SAs hold their keys themselves; a place of
// the index is one word, the SA's address and some bits of the hash. So a look-up reads one line of the index and
// then the SA, and both can be asked for ahead of time.
//
//   InboundIndex index;
//   const auto hash = InboundIndex::hash(spi, local);
//   index.prefetch(hash);                                            // for all packets of a burst, then
//   if (const Sa* sa = index.guess(hash)) sa->prefetch();            // for all, then
//   Sa* sa = index.find(hash, [&](const Sa& sa) { return …; });      // null: none
//
// Thread: one worker. Only insert() allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/address.h"
#include "base/strong.h"
#include "ipsec/sa.h"

namespace testudo::ipsec {

class InboundIndex {
 public:
  InboundIndex() : places_(kPlacesMin) {}

  /// Not keyed: SPIs are chosen by the receiver, and what is not there costs no more than what is.
  [[nodiscard]] static std::uint64_t hash(Spi spi, IpAddress local) {
    std::uint64_t h = (local.low() * 0x9e3779b97f4a7c15 ^ spi.value()) * 0xbf58476d1ce4e5b9;
    h ^= h >> 32;
    return h * 0x94d049bb133111eb;
  }
  [[nodiscard]] static std::uint64_t hash(const Sa& sa) { return hash(sa.spi(), sa.local()); }

  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&places_[place_of(hash)]); }
  /// What find() will most likely find; null: nothing.
  [[nodiscard]] const Sa* guess(std::uint64_t hash) const {
    return find(hash, [](const Sa&) { return true; });
  }
  /// The first one of this hash for which `is` says true.
  template <typename Is>
  [[nodiscard]] Sa* find(std::uint64_t hash, Is is) const {
    for (std::size_t at = place_of(hash); places_[at] != 0; at = next(at)) {
      if (tag_of(places_[at]) == tag_of(hash) && is(*sa_of(places_[at]))) return sa_of(places_[at]);
    }
    return nullptr;
  }
  /// It is not there yet.
  void insert(Sa& sa);
  /// It is there, with the same SPI and local address as when it was inserted.
  void erase(const Sa& sa);

 private:
  static constexpr std::size_t kPlacesMin = 64;

  // A place: the address of an SA, which has 47 bits and is a multiple of 64, shifted; below it a tag. 0: empty.
  static constexpr unsigned kTagBits = 16;
  [[nodiscard]] static std::uint16_t tag_of(std::uint64_t place_or_hash) {
    return static_cast<std::uint16_t>(place_or_hash);
  }
  [[nodiscard]] static Sa* sa_of(std::uint64_t place) { return reinterpret_cast<Sa*>(place >> kTagBits); }
  [[nodiscard]] std::size_t place_of(std::uint64_t hash) const { return hash >> kTagBits & (places_.size() - 1); }
  [[nodiscard]] std::size_t next(std::size_t place) const { return (place + 1) & (places_.size() - 1); }
  void put(std::uint64_t place, std::uint64_t hash);
  void grow();

  std::vector<std::uint64_t> places_;  // a power of two, at least twice as many as SAs
  std::size_t size_ = 0;
};

}  // namespace testudo::ipsec
