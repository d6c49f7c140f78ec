// SPDX-License-Identifier: Apache-2.0
#include "io/memory/memory_port.h"

#include <algorithm>
#include <utility>

namespace testudo::io {

bool MemoryPort::inject(std::span<const std::uint8_t> bytes, const Meta& meta) {
  if (queue_.size() >= capacity_) return false;
  queue_.push_back({{bytes.begin(), bytes.end()}, meta});
  if (meta.train == 0) {
    queue_.back().meta.train = next_train_;
    next_train_ = (next_train_ + 1) | 1U << 31;
  }
  return true;
}

std::vector<MemoryPort::Sent> MemoryPort::take_sent() { return std::exchange(sent_, {}); }

std::size_t MemoryPort::receive(std::span<wire::Packet> out) {
  lent_.clear();
  const std::size_t n = std::min(out.size(), queue_.size());
  std::uint32_t train = 0;
  for (std::size_t i = 0; i < n; ++i) {
    lent_.push_back(std::move(queue_.front()));
    queue_.pop_front();
    Waiting& w = lent_.back();
    out[i] = {.data = w.bytes.data(),  // the vector's own memory: it stays where it is when lent_ grows
              .size = static_cast<std::uint32_t>(w.bytes.size()),
              .train = w.meta.train,
              .source = w.meta.source,
              .destination = w.meta.destination,
              .segment_size = w.meta.segment_size,
              .checksum_missing = w.meta.checksum_missing,
              .traffic_class = w.meta.traffic_class};
    counters_.packets_in.add();
    counters_.bytes_in.add(w.bytes.size());
    if (std::exchange(train, w.meta.train) != w.meta.train) counters_.trains_in.add();
  }
  return n;
}

void MemoryPort::send(std::span<const wire::Outgoing> burst) {
  for (const wire::Outgoing& o : burst) {
    if (sent_.size() >= capacity_) {
      counters_.send_failed.add();
      continue;
    }
    Sent sent{.bytes = {o.head.begin(), o.head.begin() + o.head_size},
              .source = o.source,
              .destination = o.destination,
              .traffic_class = o.traffic_class,
              .segment_size = o.segment_size};
    sent.bytes.insert(sent.bytes.end(), o.body, o.body + o.body_size);
    sent_.push_back(std::move(sent));
    counters_.packets_out.add();
    counters_.bytes_out.add(o.size());
  }
  if (!burst.empty()) counters_.trains_out.add();
}

}  // namespace testudo::io
