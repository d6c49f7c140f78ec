// SPDX-License-Identifier: Apache-2.0
// AcceptedHold: packets that the owner itself has accepted and may not let go of before its first backup knows
// their numbers (spec C5). One queue, oldest first, of so many packets and bytes; who has waited longest makes
// room. Batches are told, and released, in order.
//
//   AcceptedHold hold({});
//   drops.count(Drop::kUnconfirmed, hold.append(out, AcceptedHold::Where::kLocal, batch, now));
//   while (const auto* held = hold.front(); held != nullptr && held->batch <= released) { send(*held); hold.pop();
//   } drops.count(Drop::kUnconfirmed, hold.expire(now));
//
// Thread: one worker. Nothing is allocated after construction, and memory is used by the system when it is first
// needed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/time.h"
#include "wire/packet.h"

namespace testudo::path {

struct AcceptedHoldConfig {
  std::uint32_t packets = 1024;
  std::uint32_t bytes = 4 << 20;
  Duration time = 200ms;  // how long one waits; its sender's TCP has sent it again by then
};

class AcceptedHold {
 public:
  enum class Where : std::uint8_t {
    kLocal,  // this host's TUN
    kXcf,    // another member, in the clear
  };
  struct Held {
    wire::Outgoing out;  // its body lies in the queue
    Where where{};
    std::uint64_t batch = 0;
    Time since;
  };

  explicit AcceptedHold(const AcceptedHoldConfig& config);

  /// Copies the body. Returns how many packets are lost: those that had to make room, and this one if it is larger
  /// than the whole queue.
  std::size_t append(const wire::Outgoing& out, Where where, std::uint64_t batch, Time now);
  /// The oldest; nullptr: none waits.
  [[nodiscard]] const Held* front() const { return count_ == 0 ? nullptr : &slots_[first_]; }
  /// The oldest's bytes stay as they are until the next append().
  void pop();
  /// Gives up those that have waited too long. Returns how many.
  std::size_t expire(Time now);
  /// When expire() has something to do. Time::max(): nothing waits.
  [[nodiscard]] Time next_timer() const { return count_ == 0 ? Time::max() : slots_[first_].since + config_.time; }

 private:
  [[nodiscard]] bool find_place(std::size_t size);

  AcceptedHoldConfig config_;
  std::vector<Held> slots_;  // a ring
  std::size_t first_ = 0, count_ = 0;
  std::unique_ptr<std::uint8_t[]> bytes_;  // a ring, too; no packet lies across its end
  std::size_t write_ = 0;                  // where the next packet goes
};

}  // namespace testudo::path
