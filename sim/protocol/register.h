// SPDX-License-Identifier: Apache-2.0
// Register: the coupling facility as far as the two protocols need it. Who owns the DVIPA and under which epoch,
// the ceilings, and who has to be asked about accepted numbers when the owner is gone. Every write of an owner
// names its epoch, and one that is not the present one is refused.
//
//   if (const Epoch epoch = reg.take(host, seen)) ...   // compare and set: `seen` is the epoch it means to end
//   reg.reserve(epoch, sa, SeqNo(2000));
//
// Requests and answers travel in the world, which may lose them; this is only what is written down.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>

#include "base/strong.h"
#include "distributor/replay_journal.h"

namespace testudo::sim::protocol {

class Register {
 public:
  [[nodiscard]] Epoch epoch() const { return epoch_; }
  [[nodiscard]] NodeId owner() const { return owner_; }  // 0: its session is over

  /// Nothing: somebody else was first.
  std::optional<Epoch> take(NodeId host, Epoch seen) {
    if (seen != epoch_) return std::nullopt;
    owner_ = host;
    epoch_ = Epoch(++revision_);
    return epoch_;
  }
  void session_over(NodeId host) {
    if (owner_ == host) owner_ = NodeId();
  }

  bool reserve(Epoch epoch, SaId sa, SeqNo last) {
    ++revision_;
    if (epoch != epoch_) return false;
    ceilings_[sa] = std::max(ceilings_[sa], last);
    return true;
  }
  /// By compare-and-set on the version as well: an older write that is late must not undo a newer one.
  bool store(Epoch epoch, std::uint64_t version, const distributor::ReplayWitnesses& witnesses) {
    ++revision_;
    if (epoch != epoch_ || version != witnesses_version_) return false;
    witnesses_ = witnesses;
    witnesses_version_ = revision_;
    return true;
  }
  [[nodiscard]] const distributor::ReplayWitnesses& witnesses() const { return witnesses_; }
  [[nodiscard]] std::uint64_t witnesses_version() const { return witnesses_version_; }

  [[nodiscard]] SeqNo ceiling(SaId sa) const {
    const auto found = ceilings_.find(sa);
    return found == ceilings_.end() ? SeqNo() : found->second;
  }

 private:
  Epoch epoch_;
  NodeId owner_;
  std::uint64_t revision_ = 0;
  std::map<SaId, SeqNo> ceilings_;
  distributor::ReplayWitnesses witnesses_;
  std::uint64_t witnesses_version_ = 0;
};

}  // namespace testudo::sim::protocol
