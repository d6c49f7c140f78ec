// SPDX-License-Identifier: Apache-2.0
#include "sim/fast_text.h"

#include <fmt/format.h>

#include "wire/fast.h"

namespace testudo::sim {
namespace {

std::string text(const wire::LeaseRequest& r) {
  return fmt::format(
      "wants {} numbers, lease {:x}{}", r.want, r.id,
      r.returned == 0 ? "" : fmt::format(", returns {:x} used up to {}", r.returned, r.last.value()));
}

std::string text(const wire::LeaseGrant& g) {
  return fmt::format("grants lease {:x}: {} to {}{}", g.id, g.first.value(), g.first.value() + g.count - 1,
                     g.shared ? ", shared" : ", exclusive");
}

std::string text(const wire::LeaseRecall& r) { return fmt::format("recalls lease {:x}", r.id); }

std::string text(const wire::LeaseReturn& r) {
  return fmt::format("returns lease {:x} used up to {}", r.id, r.last.value());
}

std::string text(const wire::ReplayCommit& c) {
  return fmt::format("commits from {}: accepted {:x}, rejected {:x}", c.base.value(), c.accepted, c.rejected);
}

std::string text(const wire::PathMtu& m) { return fmt::format("fits in {} bytes on its path", m.mtu); }

std::string text(const wire::LeaseOffer& o) {
  return fmt::format("offers lease {:x}: {} to {}, {} us after request {:x}", o.id, o.first.value(),
                     o.first.value() + o.count - 1, o.age_us, o.seen);
}

template <typename Entry>
std::string all(const wire::FastMessage& message) {
  std::string line;
  for (std::size_t i = 0; i < message.count(); ++i) {
    const auto entry = message.entry<Entry>(i);
    line += fmt::format("{}SA {:x} {}", i == 0 ? "" : "; ", entry.sa.value(), text(entry));
  }
  return line;
}

}  // namespace

std::string fast_text(std::span<const std::uint8_t> datagram) {
  const auto message = wire::FastMessage::parse(datagram);
  if (!message) return "a fast message that cannot be read";
  switch (message->header().type) {
    case wire::FastType::kLeaseRequest:
      return all<wire::LeaseRequest>(*message);
    case wire::FastType::kLeaseGrant:
      return all<wire::LeaseGrant>(*message);
    case wire::FastType::kLeaseRecall:
      return all<wire::LeaseRecall>(*message);
    case wire::FastType::kLeaseReturn:
      return all<wire::LeaseReturn>(*message);
    case wire::FastType::kReplayCommit:
      return all<wire::ReplayCommit>(*message);
    case wire::FastType::kPathMtu:
      return all<wire::PathMtu>(*message);
    case wire::FastType::kLeaseOffer:
      return all<wire::LeaseOffer>(*message);
  }
  return "a fast message of an unknown type";
}

}  // namespace testudo::sim
