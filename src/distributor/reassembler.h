// SPDX-License-Identifier: Apache-2.0
// Reassembler: puts fragments of IPv4 and IPv6 packets together (RFC 791, RFC 8200 section 4.5), before IPsec (a
// protected packet that was cut on its way) and after it (a packet that was cut before it was protected: its ports
// are in the first fragment only, and filters want them: RFC 4301 section 7).
//
//   distributor::Reassembler reassembler({});
//   reassembler.recycle();                                  // begins a burst
//   const auto result = reassembler.add(*ip, tunnel, now);   // ip->is_fragment()
//   if (result.drop) …                                       // this fragment is dropped
//   if (!result.whole.empty()) use(result.whole);            // a whole packet, until recycle()
//   drops.count(Drop::kFragmentLost, reassembler.take_lost());   // earlier fragments, given up
//   reassembler.expire(now);                                // each turn
//
// Fragments that overlap others are refused, and with them their packet as a whole (RFC 5722; likewise for IPv4,
// where nobody needs them either). Memory and time are bounded: the oldest packet makes room. Thread: one worker.
// All memory is reserved at construction, and used by the system when a place is first needed.
#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/drop.h"
#include "base/time.h"
#include "wire/ip.h"

namespace testudo::distributor {

struct ReassemblerConfig {
  std::uint32_t packets = 64;  // put together at one time
  Duration timeout = 15s;      // from the first fragment on (RFC 791's lower bound)
};

class Reassembler {
 public:
  struct Result {
    std::optional<Drop> drop;       // kFragmentOverlap, kMalformed, kFragment (again, or no room)
    std::span<std::uint8_t> whole;  // not empty: with this fragment the packet is complete
    [[nodiscard]] bool waits() const { return !drop && whole.empty(); }
  };

  explicit Reassembler(const ReassemblerConfig& config);

  /// Takes a copy of the fragment. Only fragments with one `context` belong together: the tunnel they came by.
  [[nodiscard]] Result add(const wire::IpView& fragment, std::uint32_t context, Time now);
  /// The packets that were completed are not needed any more.
  void recycle();
  void expire(Time now);
  /// Fragments that were held and given up since the last call.
  std::uint64_t take_lost() { return std::exchange(lost_, 0); }
  [[nodiscard]] Time next_timer() const;

 private:
  static constexpr std::size_t kHeadMax = 256;       // bytes: of all headers before the fragment's payload
  static constexpr std::size_t kPayloadMax = 65535;  // bytes
  static constexpr std::size_t kUnits = 8192;        // of 8 bytes
  enum class State : std::uint8_t { kFree, kWaiting, kRefused, kDone };
  struct Key {
    IpAddress source, destination;
    std::uint32_t id = 0, context = 0;
    std::uint8_t protocol = 0;  // IPv4 only (RFC 791); of IPv6 id and addresses suffice
    friend bool operator==(const Key&, const Key&) = default;
  };
  struct Place {
    Key key;
    State state = State::kFree;
    Time since{};
    std::uint32_t fragments = 0;
    std::uint32_t head = 0;   // bytes of the first fragment's headers; 0: it has not come
    std::uint32_t end = 0;    // bytes of all payload; 0: the last fragment has not come
    std::uint32_t units = 0;  // that are there
    std::uint32_t reach = 0;  // bytes: the highest end of any fragment
    std::bitset<kUnits> there;
  };

  [[nodiscard]] static Key key_of(const wire::IpView& fragment, std::uint32_t context);
  [[nodiscard]] Place* place_of(const Key& key, Time now);
  [[nodiscard]] std::uint8_t* payload(const Place& place) const;
  [[nodiscard]] std::optional<Drop> check(const Place& place, const wire::IpView& fragment) const;
  [[nodiscard]] bool again(const Place& place, const wire::IpView& fragment) const;
  void take(Place& place, const wire::IpView& fragment);
  std::span<std::uint8_t> finish(Place& place);
  void give_up(Place& place, State state);

  ReassemblerConfig config_;
  std::vector<Place> places_;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::uint64_t lost_ = 0;
  std::size_t waiting_ = 0;  // places that are waiting or refused
  bool done_ = false;        // some place is
};

}  // namespace testudo::distributor
