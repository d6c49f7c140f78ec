// SPDX-License-Identifier: Apache-2.0
#include "path/accepted_hold.h"

#include <cstring>

#include "base/check.h"

namespace testudo::path {

AcceptedHold::AcceptedHold(const AcceptedHoldConfig& config)
    : config_(config),
      slots_(config.packets),
      bytes_(std::make_unique_for_overwrite<std::uint8_t[]>(config.bytes)) {
  CHECK(config.packets > 0);
}

/// Makes write_ the beginning of so many free bytes, if there are.
bool AcceptedHold::find_place(std::size_t size) {
  if (count_ == slots_.size()) return false;
  if (count_ == 0) {
    write_ = 0;
    return size <= config_.bytes;
  }
  const auto oldest = static_cast<std::size_t>(slots_[first_].out.body - bytes_.get());
  if (write_ <= oldest) return size <= oldest - write_;  // the end was passed since it came
  if (size <= config_.bytes - write_) return true;
  if (size > oldest) return false;
  write_ = 0;
  return true;
}

std::size_t AcceptedHold::append(const wire::Outgoing& out, Where where, std::uint64_t batch, Time now) {
  std::size_t lost = 0;
  for (; !find_place(out.body_size); ++lost) {
    if (count_ == 0) return lost + 1;
    pop();
  }
  Held& held = slots_[(first_ + count_++) % slots_.size()];
  held = {.out = out, .where = where, .batch = batch, .since = now};
  held.out.body = bytes_.get() + write_;
  std::memcpy(bytes_.get() + write_, out.body, out.body_size);
  write_ += out.body_size;
  return lost;
}

void AcceptedHold::pop() {
  CHECK(count_ > 0);
  first_ = (first_ + 1) % slots_.size();
  --count_;
}

std::size_t AcceptedHold::expire(Time now) {
  std::size_t lost = 0;
  for (; count_ > 0 && now - slots_[first_].since >= config_.time; ++lost) pop();
  return lost;
}

}  // namespace testudo::path
