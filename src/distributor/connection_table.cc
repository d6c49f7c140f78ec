// SPDX-License-Identifier: Apache-2.0
#include "distributor/connection_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>

#include "base/check.h"
#include "wire/tcp.h"

namespace testudo::distributor {

ConnectionTable::ConnectionTable(const ConnectionTableConfig& config, const SipKey& key)
    : config_(config), key_(key), entries_(config.capacity) {
  CHECK(config.capacity >= 1 && config.capacity <= (1u << 30));
  if (config_.clear_max == 0) config_.clear_max = std::max(config.capacity / 4 * 3, 1u);
  index_.resize(std::bit_ceil(std::size_t{config.capacity} * 2));
  mask_ = index_.size() - 1;
  for (std::uint32_t number = 0; number < config.capacity; ++number) {
    entries_[number].next_free = number + 1 < config.capacity ? number + 2 : 0;
  }
  free_ = 1;
}

std::uint64_t ConnectionTable::hash(const ConnectionKey& key) const {
  struct {
    std::uint32_t client, dvipa;
    std::uint16_t client_port, dvipa_port;
  } const bytes{key.client.address.value(), key.dvipa.address.value(), key.client.port, key.dvipa.port};
  static_assert(sizeof bytes == 12);
  return siphash(key_, std::bit_cast<std::array<std::uint8_t, sizeof bytes>>(bytes));
}

Connection* ConnectionTable::find(const ConnectionKey& key, std::uint64_t hash) {
  for (std::size_t place = hash & mask_; index_[place] != 0; place = (place + 1) & mask_) {
    Entry& entry = entries_[index_[place] - 1];
    if (entry.hash == hash && entry.connection.key == key) return &entry.connection;
  }
  return nullptr;
}

Connection* ConnectionTable::insert(const ConnectionKey& key, std::uint64_t hash, NodeId target,
                                    ipsec::TunnelId tunnel, Time now) {
  const bool clear = tunnel == ipsec::TunnelId();
  if (free_ == 0 || (clear && clear_ >= config_.clear_max)) return nullptr;
  const std::uint32_t number = free_ - 1;
  Entry& entry = entries_[number];
  free_ = entry.next_free;
  entry = {.connection = {.key = key, .target = target, .tunnel = tunnel, .last_seen = now},
           .hash = hash,
           .next_free = 0,
           .used = true};
  std::size_t place = hash & mask_;
  while (index_[place] != 0) place = (place + 1) & mask_;
  index_[place] = number + 1;
  ++size_;
  clear_ += clear ? 1 : 0;
  return &entry.connection;
}

std::size_t ConnectionTable::place_of(std::uint32_t number, std::uint64_t hash) const {
  std::size_t place = hash & mask_;
  while (index_[place] != number + 1) place = (place + 1) & mask_;
  return place;
}

void ConnectionTable::erase(Connection& connection) {
  static_assert(offsetof(Entry, connection) == 0);
  Entry& entry = reinterpret_cast<Entry&>(connection);
  CHECK(entry.used);
  const auto number = static_cast<std::uint32_t>(&entry - entries_.data());
  close_gap(place_of(number, entry.hash));
  --size_;
  clear_ -= entry.connection.clear() ? 1 : 0;
  entry.used = false;
  entry.next_free = free_;
  free_ = number + 1;
}

/// Empties the place and moves back what follows and could have been there: so no look-up ever meets a tombstone.
void ConnectionTable::close_gap(std::size_t gap) {
  for (std::size_t place = (gap + 1) & mask_; index_[place] != 0; place = (place + 1) & mask_) {
    const std::size_t home = entries_[index_[place] - 1].hash & mask_;
    if (((place - home) & mask_) < ((place - gap) & mask_)) continue;  // its home is after the gap
    index_[gap] = index_[place];
    gap = place;
  }
  index_[gap] = 0;
}

void ConnectionTable::note(Connection& connection, std::uint8_t tcp_flags, std::size_t bytes, Time now) {
  ++connection.packets;
  connection.bytes += bytes;
  connection.last_seen = now;
  if ((tcp_flags & (wire::kTcpFin | wire::kTcpRst)) != 0) {
    if (connection.state == ConnectionState::kEstablished) connection.state = ConnectionState::kClosing;
  } else if ((tcp_flags & wire::kTcpSyn) == 0) {
    if (connection.state == ConnectionState::kNew) connection.state = ConnectionState::kEstablished;
  }
}

Duration ConnectionTable::timeout(ConnectionState state) const {
  switch (state) {
    case ConnectionState::kNew:
      return config_.new_timeout;
    case ConnectionState::kEstablished:
      return config_.idle_timeout;
    case ConnectionState::kClosing:
      return config_.closing_timeout;
  }
  return config_.idle_timeout;
}

void ConnectionTable::age(Time now, std::size_t budget) {
  for (budget = std::min(budget, entries_.size()); budget > 0; --budget) {
    Entry& entry = entries_[age_next_];
    age_next_ = age_next_ + 1 == entries_.size() ? 0 : age_next_ + 1;
    if (!entry.used || now - entry.connection.last_seen < timeout(entry.connection.state)) continue;
    erase(entry.connection);
  }
}

std::vector<ConnectionInfo> ConnectionTable::list(Time now) const {
  std::vector<ConnectionInfo> out;
  out.reserve(size_);
  for (const Entry& entry : entries_) {
    if (!entry.used) continue;
    const Connection& c = entry.connection;
    out.push_back({.client = c.key.client,
                   .dvipa = c.key.dvipa,
                   .target = c.target,
                   .state = c.state,
                   .tunnel = c.tunnel,
                   .packets = c.packets,
                   .bytes = c.bytes,
                   .idle = now - c.last_seen});
  }
  return out;
}

}  // namespace testudo::distributor
