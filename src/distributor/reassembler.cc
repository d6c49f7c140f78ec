// SPDX-License-Identifier: Apache-2.0
#include "distributor/reassembler.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "wire/checksum.h"

namespace testudo::distributor {
namespace {

std::size_t units_of(std::size_t bytes) { return (bytes + 7) / 8; }

/// Where a fragment is divided: headers that every fragment repeats, fragment header, and what was cut.
struct Parts {
  std::size_t head = 0;     // bytes
  std::size_t name_at = 0;  // IPv6: where the byte lies that names the fragment header
  std::size_t cut = 0;      // where it begins
};

Parts parts_of(const wire::IpView& fragment) {
  if (fragment.is_v4()) return {.head = fragment.header_size(), .cut = fragment.header_size()};
  const std::uint8_t* packet = fragment.packet().data();
  Parts parts{.head = wire::kIpv6HeaderSize, .name_at = offsetof(wire::Ipv6Header, next_header)};
  while (packet[parts.name_at] != wire::kProtocolFragment) {  // wire::parse_ip() has walked to it
    parts.name_at = parts.head;
    parts.head += reinterpret_cast<const wire::Ipv6Extension*>(packet + parts.head)->size();
  }
  parts.cut = parts.head + wire::kIpv6FragmentSize;
  return parts;
}

const wire::Ipv6Fragment& fragment_header(const wire::IpView& fragment) {
  return *reinterpret_cast<const wire::Ipv6Fragment*>(fragment.packet().data() + parts_of(fragment).head);
}

std::span<const std::uint8_t> cut_of(const wire::IpView& fragment) {
  return fragment.packet().subspan(parts_of(fragment).cut);
}

}  // namespace

Reassembler::Reassembler(const ReassemblerConfig& config)
    : config_(config),
      places_(config.packets),
      memory_(std::make_unique_for_overwrite<std::uint8_t[]>(config.packets * (kHeadMax + kPayloadMax + 1))) {
  CHECK(config.packets > 0);
}

Reassembler::Key Reassembler::key_of(const wire::IpView& fragment, std::uint32_t context) {
  Key key{.source = fragment.source(), .destination = fragment.destination(), .context = context};
  if (fragment.is_v4()) {
    const auto& header = *reinterpret_cast<const wire::Ipv4Header*>(fragment.packet().data());
    key.id = header.id.host();
    key.protocol = header.protocol;
  } else {
    key.id = fragment_header(fragment).id.host();
  }
  return key;
}

std::uint8_t* Reassembler::payload(const Place& place) const {
  const auto number = static_cast<std::size_t>(&place - places_.data());
  return memory_.get() + number * (kHeadMax + kPayloadMax + 1) + kHeadMax;
}

/// The packet's place, or a new one: a free one, or the oldest of those that wait. Null: all are in use.
Reassembler::Place* Reassembler::place_of(const Key& key, Time now) {
  Place* fresh = nullptr;
  for (Place& place : places_) {
    const bool busy = place.state == State::kWaiting || place.state == State::kRefused;
    if (busy && place.key == key && now - place.since < config_.timeout) return &place;
    if (place.state == State::kDone) continue;
    if (fresh == nullptr || (fresh->state != State::kFree && (!busy || place.since < fresh->since))) fresh = &place;
  }
  if (fresh == nullptr) return nullptr;
  if (fresh->state != State::kFree) give_up(*fresh, State::kFree);
  *fresh = Place{};
  fresh->key = key;
  fresh->state = State::kWaiting;
  fresh->since = now;
  ++waiting_;
  return fresh;
}

// What is impossible, whatever else has come.
std::optional<Drop> Reassembler::check(const Place& place, const wire::IpView& fragment) const {
  const std::size_t size = cut_of(fragment).size();
  const std::size_t end = fragment.fragment_offset() + size;
  if (size == 0 || end > kPayloadMax || parts_of(fragment).head > kHeadMax) return Drop::kMalformed;
  if (fragment.more_fragments() && size % 8 != 0) return Drop::kMalformed;
  if (!fragment.more_fragments() && (place.reach > end || (place.end != 0 && place.end != end))) {
    return Drop::kFragmentOverlap;
  }
  if (place.end != 0 && end > place.end) return Drop::kFragmentOverlap;
  for (std::size_t unit = fragment.fragment_offset() / 8; unit < units_of(end); ++unit) {
    if (place.there[unit]) return Drop::kFragmentOverlap;
  }
  return std::nullopt;
}

/// A copy of one that is there (RFC 8200 section 4.5 lets it be ignored).
bool Reassembler::again(const Place& place, const wire::IpView& fragment) const {
  const auto bytes = cut_of(fragment);
  const std::size_t from = fragment.fragment_offset(), end = from + bytes.size();
  if (bytes.empty() || end > place.reach || (!fragment.more_fragments() && place.end != end)) return false;
  for (std::size_t unit = from / 8; unit < units_of(end); ++unit) {
    if (!place.there[unit]) return false;
  }
  return std::memcmp(payload(place) + from, bytes.data(), bytes.size()) == 0;
}

Reassembler::Result Reassembler::add(const wire::IpView& fragment, std::uint32_t context, Time now) {
  CHECK(fragment.is_fragment());
  Place* place = place_of(key_of(fragment, context), now);
  if (place == nullptr || place->state == State::kRefused) {
    return {.drop = place == nullptr ? Drop::kFragment : Drop::kFragmentOverlap, .whole = {}};
  }
  if (const auto reason = check(*place, fragment)) {
    if (*reason == Drop::kFragmentOverlap && again(*place, fragment)) return {.drop = Drop::kFragment, .whole = {}};
    give_up(*place, State::kRefused);
    return {.drop = reason, .whole = {}};
  }
  take(*place, fragment);
  if (place->head == 0 || place->end == 0 || place->units != units_of(place->end)) return {};
  return {.drop = std::nullopt, .whole = finish(*place)};
}

void Reassembler::take(Place& place, const wire::IpView& fragment) {
  const auto bytes = cut_of(fragment);
  const std::size_t from = fragment.fragment_offset(), end = from + bytes.size();
  std::memcpy(payload(place) + from, bytes.data(), bytes.size());
  for (std::size_t unit = from / 8; unit < units_of(end); ++unit) place.there.set(unit);
  place.units += static_cast<std::uint32_t>(units_of(end) - from / 8);
  place.reach = std::max(place.reach, static_cast<std::uint32_t>(end));
  if (!fragment.more_fragments()) place.end = static_cast<std::uint32_t>(end);
  ++place.fragments;
  if (from != 0) return;
  const Parts parts = parts_of(fragment);
  place.head = static_cast<std::uint32_t>(parts.head);
  std::uint8_t* head = payload(place) - place.head;
  std::memcpy(head, fragment.packet().data(), place.head);
  if (!fragment.is_v4()) head[parts.name_at] = fragment_header(fragment).next_header;
}

/// Makes the headers those of the whole packet. Empty: it would be too long for its length field.
std::span<std::uint8_t> Reassembler::finish(Place& place) {
  std::uint8_t* packet = payload(place) - place.head;
  const std::size_t size = place.head + place.end;
  if (place.key.source.is_v4() ? size > 0xffff : size - wire::kIpv6HeaderSize > 0xffff) {
    give_up(place, State::kRefused);
    return {};
  }
  if (place.key.source.is_v4()) {
    auto& header = *reinterpret_cast<wire::Ipv4Header*>(packet);
    header.total_length = Be<std::uint16_t>(static_cast<std::uint16_t>(size));
    header.flags_offset = Be<std::uint16_t>(0);
    header.checksum = Be<std::uint16_t>(0);
    header.checksum = Be<std::uint16_t>(wire::checksum({packet, place.head}));
  } else {
    auto& header = *reinterpret_cast<wire::Ipv6Header*>(packet);
    header.payload_length = Be<std::uint16_t>(static_cast<std::uint16_t>(size - wire::kIpv6HeaderSize));
  }
  place.state = State::kDone;
  --waiting_;
  done_ = true;
  return {packet, size};
}

/// What was held of it is lost. kRefused: so is what still comes, until its time is over.
void Reassembler::give_up(Place& place, State state) {
  lost_ += place.fragments;
  place.fragments = 0;
  if (state == State::kFree) --waiting_;
  place.state = state;
}

void Reassembler::recycle() {
  if (!done_) return;
  for (Place& place : places_) {
    if (place.state == State::kDone) place.state = State::kFree;
  }
  done_ = false;
}

void Reassembler::expire(Time now) {
  if (waiting_ == 0) return;
  for (Place& place : places_) {
    const bool busy = place.state == State::kWaiting || place.state == State::kRefused;
    if (busy && now - place.since >= config_.timeout) give_up(place, State::kFree);
  }
}

Time Reassembler::next_timer() const {
  Time next = Time::max();
  if (waiting_ == 0) return next;
  for (const Place& place : places_) {
    if (place.state == State::kWaiting || place.state == State::kRefused) {
      next = std::min(next, place.since + config_.timeout);
    }
  }
  return next;
}

}  // namespace testudo::distributor
