// SPDX-License-Identifier: Apache-2.0
#include "node/moves.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "xcf/address_field.h"

namespace testudo::node {
namespace {

constexpr Duration kOnTheWay = 2ms;  // what was forwarded arrives; the heir's epoch would have it refused
constexpr Duration kLook = 1s;

}  // namespace

Result<void> Moves::move(IpAddress dvipa, const std::string& to) {
  if (!parts_.owner.serves(dvipa)) {
    return fail(fmt::format("{} is not served by this node yet: try again", dvipa.to_string()));
  }
  if (parts_.ownership.movement_of(dvipa) == vipa::Movement::kImmediate) return parts_.ownership.move(dvipa, to);
  const bool first = waiting_.empty();
  waiting_[dvipa] = to;
  if (first) look();
  return {};
}

void Moves::look() {
  if (waiting_.empty()) return;
  parts_.connections([this, alive = alive_](const std::vector<distributor::ConnectionInfo>& all) {
    if (!*alive) return;
    for (auto next = waiting_.begin(); next != waiting_.end();) {
      const auto [dvipa, to] = *next;
      const bool busy =
          std::ranges::any_of(all, [&](const distributor::ConnectionInfo& c) { return c.dvipa.address == dvipa; });
      next = busy ? std::next(next) : waiting_.erase(next);
      if (busy) continue;
      if (const auto begun = parts_.ownership.move(dvipa, to); !begun)
        parts_.log.warning("{}: {}", dvipa.to_string(), begun.error().message);
    }
    parts_.executor.run_after(kLook, [this, alive] {
      if (*alive) look();
    });
  });
}

bool Moves::ask(IpAddress dvipa, const std::string& owner, const std::string& to) {
  xcf::v1::Envelope envelope;
  xcf::v1::MoveRequest& request = *envelope.mutable_move_request();
  request.set_dvipa(dvipa.to_bytes());
  request.set_to(to);
  return parts_.bus.send(owner, envelope);
}

void Moves::asked(const std::string& from, const xcf::v1::MoveRequest& request) {
  const IpAddress dvipa = xcf::address_of(request.dvipa());
  if (!parts_.owner.serves(dvipa)) return;
  const auto begun = move(dvipa, request.to());
  if (!begun) {
    parts_.log.warning("{} asks to move {} to {}: {}", from, dvipa.to_string(), request.to(),
                       begun.error().message);
  }
}

void Moves::ready(IpAddress dvipa, const std::string& to) {
  const auto state = parts_.ownership.dvipa(dvipa);
  parts_.events.add({.what = "moving",
                     .dvipa = dvipa,
                     .epoch = state ? state->epoch : Epoch(),
                     .reason = fmt::format("to {}", to)});
  parts_.owner.pause(dvipa);
  parts_.steer();
  parts_.executor.run_after(kOnTheWay, [this, dvipa, alive = alive_] {
    if (*alive) static_cast<void>(parts_.ownership.hand_over(dvipa));
  });
}

void Moves::failed(IpAddress dvipa, const std::string& reason) {
  parts_.log.warning("{} is not moved: {}", dvipa.to_string(), reason);
  if (!parts_.owner.owns(dvipa) || parts_.owner.serves(dvipa)) return;
  parts_.owner.serve(dvipa);
  parts_.serving(dvipa);
}

}  // namespace testudo::node
