// SPDX-License-Identifier: Apache-2.0
#include "distributor/connection_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>

#include "base/check.h"
#include "wire/tcp.h"

namespace testudo::distributor {

namespace {

std::uint32_t milliseconds(Time time) {
  return static_cast<std::uint32_t>(time.time_since_epoch() / std::chrono::milliseconds(1));
}

}  // namespace

ConnectionTable::ConnectionTable(const ConnectionTableConfig& config, const SipKey& key, policy::FlowLog* log)
    : config_(config), key_(key), log_(log) {
  CHECK(config.capacity >= 1 && config.capacity <= (1u << 28));
  if (config_.clear_max == 0) config_.clear_max = std::max(config.capacity / 4 * 3, 1u);
  for (Duration* timeout : {&config_.new_timeout, &config_.idle_timeout, &config_.closing_timeout}) {
    *timeout = std::min(*timeout, kConnectionTimeoutMax);
  }
  pools_[0].entry_size = sizeof(Entry4);
  pools_[1].entry_size = sizeof(Entry6);
  for (Pool& pool : pools_) {
    pool.memory = LargeMemory(config.capacity * pool.entry_size);
  }
  mask_ = std::bit_ceil(std::size_t{config.capacity} * 2) - 1;
  index_memory_ = LargeMemory((mask_ + 1) * sizeof(std::uint32_t));
  index_ = reinterpret_cast<std::uint32_t*>(index_memory_.data());
  name_bits_ = static_cast<unsigned>(std::bit_width(2 * config.capacity));
}

std::uint64_t ConnectionTable::hash(const ConnectionKey& key) const {
  if (is_v6(key)) {
    const std::array<std::uint64_t, 5> words{key.client.address.high(), key.client.address.low(),
                                             key.dvipa.address.high(), key.dvipa.address.low(),
                                             std::uint64_t{key.client.port} << 16 | key.dvipa.port};
    return siphash(key_, std::bit_cast<std::array<std::uint8_t, sizeof words>>(words));
  }
  const std::array<std::uint32_t, 3> words{key.client.address.v4(), key.dvipa.address.v4(),
                                           std::uint32_t{key.client.port} << 16 | key.dvipa.port};
  return siphash(key_, std::bit_cast<std::array<std::uint8_t, sizeof words>>(words));
}

bool ConnectionTable::same(const Connection& connection, const ConnectionKey& key) {
  if (connection.v6_ != is_v6(key)) return false;
  if (connection.v6_) {
    const auto& e = static_cast<const Entry6&>(connection);
    return e.client_low == key.client.address.low() && e.client_high == key.client.address.high() &&
           e.dvipa_low == key.dvipa.address.low() && e.dvipa_high == key.dvipa.address.high() &&
           e.client_port == key.client.port && e.dvipa_port == key.dvipa.port;
  }
  const auto& e = static_cast<const Entry4&>(connection);
  return e.client == key.client.address.v4() && e.dvipa == key.dvipa.address.v4() &&
         e.client_port == key.client.port && e.dvipa_port == key.dvipa.port;
}

void ConnectionTable::write(Connection& connection, const ConnectionKey& key) {
  CHECK(key.client.address.is_v4() == key.dvipa.address.is_v4());
  if (is_v6(key)) {
    auto& e = static_cast<Entry6&>(connection);
    e.client_high = key.client.address.high(), e.client_low = key.client.address.low();
    e.dvipa_high = key.dvipa.address.high(), e.dvipa_low = key.dvipa.address.low();
    e.client_port = key.client.port, e.dvipa_port = key.dvipa.port;
  } else {
    auto& e = static_cast<Entry4&>(connection);
    e.client = key.client.address.v4(), e.dvipa = key.dvipa.address.v4();
    e.client_port = key.client.port, e.dvipa_port = key.dvipa.port;
  }
}

ConnectionKey ConnectionTable::key_of(const Connection& connection) const {
  if (connection.v6_) {
    const auto& e = static_cast<const Entry6&>(connection);
    return {.client = {IpAddress(e.client_high, e.client_low), e.client_port},
            .dvipa = {IpAddress(e.dvipa_high, e.dvipa_low), e.dvipa_port}};
  }
  const auto& e = static_cast<const Entry4&>(connection);
  return {.client = {IpAddress(e.client), e.client_port}, .dvipa = {IpAddress(e.dvipa), e.dvipa_port}};
}

Connection& ConnectionTable::named(std::uint32_t slot) const {
  const std::uint32_t number = (slot & ((1u << name_bits_) - 1)) - 1;
  return number < config_.capacity ? pools_[0].at(number) : pools_[1].at(number - config_.capacity);
}

std::size_t ConnectionTable::connection_size(std::uint32_t slot) const {
  return (slot & ((1u << name_bits_) - 1)) <= config_.capacity ? sizeof(Entry4) : sizeof(Entry6);
}

std::uint32_t ConnectionTable::name_of(const Connection& connection) const {
  const Pool& pool = pools_[connection.v6_ ? 1 : 0];
  const auto offset = reinterpret_cast<const std::byte*>(&connection) - pool.memory.data();
  const auto number = static_cast<std::uint32_t>(static_cast<std::size_t>(offset) / pool.entry_size);
  return number + (connection.v6_ ? config_.capacity : 0) + 1;
}

void ConnectionTable::prefetch_entry(std::uint64_t hash) const {
  for (std::size_t place = hash & mask_; index_[place] != 0; place = (place + 1) & mask_) {
    if (!may_be(index_[place], hash)) continue;
    const Connection& connection = named(index_[place]);
    const std::size_t last = connection_size(index_[place]) - 1;
    __builtin_prefetch(&connection, 1);
    __builtin_prefetch(reinterpret_cast<const std::byte*>(&connection) + last, 1);  // it may lie across two lines
    return;
  }
}

Connection* ConnectionTable::find(const ConnectionKey& key, std::uint64_t hash) {
  for (std::size_t place = hash & mask_; index_[place] != 0; place = (place + 1) & mask_) {
    if (!may_be(index_[place], hash)) continue;
    Connection& connection = named(index_[place]);
    if (same(connection, key)) return &connection;
  }
  return nullptr;
}

/// The number of an unused entry. There is one: the pool has room for all connections.
std::uint32_t ConnectionTable::take(Pool& pool) const {
  if (pool.free == 0) return pool.touched++;
  const std::uint32_t number = pool.free - 1;
  pool.free = pool.at(number).hash_;
  return number;
}

Connection* ConnectionTable::insert(const ConnectionKey& key, std::uint64_t hash, NodeId target,
                                    ipsec::TunnelId tunnel, Time now) {
  const bool clear = tunnel == ipsec::TunnelId();
  if (size_ == config_.capacity || (clear && clear_ >= config_.clear_max)) return nullptr;
  const bool v6 = is_v6(key);
  Pool& pool = pools_[v6 ? 1 : 0];
  Connection& connection = pool.at(take(pool));
  connection.packets = connection.bytes = 0;
  connection.tunnel = tunnel;
  connection.last_seen_ms = milliseconds(now);
  connection.target = target;
  connection.state = ConnectionState::kNew;
  connection.log = false;
  connection.used_ = true;
  connection.v6_ = v6;
  connection.hash_ = static_cast<std::uint32_t>(hash);
  write(connection, key);
  std::size_t place = hash & mask_;
  while (index_[place] != 0) place = (place + 1) & mask_;
  index_[place] = slot_of(name_of(connection), hash);
  ++size_;
  clear_ += clear ? 1 : 0;
  return &connection;
}

void ConnectionTable::erase(Connection& connection) {
  CHECK(connection.used_);
  if (connection.log && log_ != nullptr) {
    log_->ends(policy::Direction::kInbound, flow_of(key_of(connection)), connection.packets, connection.bytes);
  }
  const std::uint32_t name = name_of(connection);
  const std::uint32_t name_mask = (1u << name_bits_) - 1;
  std::size_t place = connection.hash_ & mask_;
  while ((index_[place] & name_mask) != name) place = (place + 1) & mask_;
  close_gap(place);
  --size_;
  clear_ -= connection.clear() ? 1 : 0;
  Pool& pool = pools_[connection.v6_ ? 1 : 0];
  connection.used_ = false;
  connection.hash_ = pool.free;
  pool.free = connection.v6_ ? name - config_.capacity : name;
}

/// Empties the place and moves back what follows and could have been there: so no look-up ever meets a tombstone.
void ConnectionTable::close_gap(std::size_t gap) {
  for (std::size_t place = (gap + 1) & mask_; index_[place] != 0; place = (place + 1) & mask_) {
    const std::size_t home = named(index_[place]).hash_ & mask_;
    if (((place - home) & mask_) < ((place - gap) & mask_)) continue;  // its home is after the gap
    index_[gap] = index_[place];
    gap = place;
  }
  index_[gap] = 0;
}

void ConnectionTable::note(Connection& connection, std::uint8_t tcp_flags, std::size_t bytes, Time now) {
  ++connection.packets;
  connection.bytes += bytes;
  connection.last_seen_ms = milliseconds(now);
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

Connection& ConnectionTable::at_place(std::size_t place) const {
  return place < pools_[0].touched ? pools_[0].at(static_cast<std::uint32_t>(place))
                                   : pools_[1].at(static_cast<std::uint32_t>(place - pools_[0].touched));
}

std::size_t ConnectionTable::forget(IpAddress dvipa, std::size_t from, std::size_t budget) {
  const std::size_t all = places();
  const std::size_t stop = std::min(from + budget, all);
  for (std::size_t place = from; place < stop; ++place) {
    Connection& connection = at_place(place);
    if (!connection.used_ || key_of(connection).dvipa.address != dvipa) continue;
    connection.log = false;
    erase(connection);
  }
  return stop == all ? 0 : stop;
}

void ConnectionTable::age(Time now, std::size_t budget) {
  const std::size_t all = places();
  for (budget = std::min(budget, all); budget > 0; --budget) {
    if (age_next_ >= all) age_next_ = 0;
    Connection& connection = at_place(age_next_++);
    const std::chrono::milliseconds silent(milliseconds(now) - connection.last_seen_ms);
    if (connection.used_ && silent >= timeout(connection.state)) erase(connection);
  }
}

std::vector<ConnectionInfo> ConnectionTable::list(Time now) const {
  std::vector<ConnectionInfo> out;
  out.reserve(size_);
  for (const Pool& pool : pools_) {
    for (std::uint32_t number = 0; number < pool.touched; ++number) {
      const Connection& c = pool.at(number);
      if (!c.used_) continue;
      const ConnectionKey key = key_of(c);
      out.push_back({.client = key.client,
                     .dvipa = key.dvipa,
                     .target = c.target,
                     .state = c.state,
                     .tunnel = c.tunnel,
                     .log = c.log,
                     .packets = c.packets,
                     .bytes = c.bytes,
                     .idle = std::chrono::milliseconds(milliseconds(now) - c.last_seen_ms)});
    }
  }
  return out;
}

}  // namespace testudo::distributor
