// SPDX-License-Identifier: Apache-2.0
// Strong<Tag, T>: an integer that mixes with no other. Spi, SaId, Epoch … are made of it. Always host byte order.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace testudo {

template <typename Tag, typename T>
class Strong {
 public:
  using Value = T;
  constexpr Strong() = default;
  constexpr explicit Strong(T v) : value_(v) {}
  [[nodiscard]] constexpr T value() const { return value_; }
  friend constexpr auto operator<=>(const Strong&, const Strong&) = default;
  template <typename H>
  friend H AbslHashValue(H h, const Strong& s) {
    return H::combine(std::move(h), s.value_);
  }

 private:
  T value_{};
};

/// Security Parameters Index (RFC 4301), host byte order. 0 is "none".
using Spi = Strong<struct SpiTag, std::uint32_t>;
/// IPsec sequence number, always the full 64 bits; without ESN the high half is 0.
using SeqNo = Strong<struct SeqNoTag, std::uint64_t>;
/// Fencing epoch of a DVIPA's ownership (spec G5): the facility's revision at which its owner took it. 0 is "none".
using Epoch = Strong<struct EpochTag, std::uint64_t>;
/// A node's number in the cluster, given once per node name by the coupling facility. 0 is "none".
using NodeId = Strong<struct NodeIdTag, std::uint16_t>;
/// One SA (one direction) in the whole cluster: low 32 bits of the epoch under which it was installed · a counter.
using SaId = Strong<struct SaIdTag, std::uint64_t>;

}  // namespace testudo

template <typename Tag, typename T>
struct std::hash<testudo::Strong<Tag, T>> {
  std::size_t operator()(const testudo::Strong<Tag, T>& s) const noexcept { return std::hash<T>{}(s.value()); }
};
