// SPDX-License-Identifier: Apache-2.0
// ConnectionTable: the distributed connection table of an owner (DCT, spec C3): which target has which TCP
// connection. Only the client's direction passes the owner, so it sees SYN, FIN and RST of the client and nothing
// of the server.
//
//   distributor::ConnectionTable table({.capacity = 1 << 20}, hash_key);
//   const std::uint64_t hash = table.hash(key);
//   if (Connection* c = table.find(key, hash)) { forward_to(c->target); table.note(*c, tcp_flags, size, now); }
//   else if (Connection* made = table.insert(key, hash, target, tunnel, now)) …   // null: full
//   table.age(now, 64);                                                          // each turn: looks at 64 of them
//
// In a burst, look-ups wait for memory together: prefetch(hash) for all packets, then prefetch_entry(hash) for all,
// then find(). An IPv4 connection takes 48 bytes and an IPv6 one 72, and the index at most 16 more for each that
// there is room for. All memory is reserved at construction, for `capacity` connections of either family, and used
// by the system when a connection first needs it. The hash is keyed, because clients choose addresses and ports.
// Thread: one worker. Pointers stay valid until the connection is erased or aged.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/drop.h"
#include "base/strong.h"
#include "base/time.h"
#include "distributor/large_memory.h"
#include "distributor/siphash.h"
#include "ipsec/tunnel.h"
#include "policy/flow_log.h"

namespace testudo::distributor {

/// Both addresses are of one family.
struct ConnectionKey {
  Endpoint client;
  Endpoint dvipa;
  friend bool operator==(const ConnectionKey&, const ConnectionKey&) = default;
};

/// The client's direction. Connections are TCP.
[[nodiscard]] inline policy::Flow flow_of(const ConnectionKey& key) {
  return {.source = key.client.address,
          .destination = key.dvipa.address,
          .protocol = wire::kProtocolTcp,
          .has_ports = true,
          .source_port = key.client.port,
          .destination_port = key.dvipa.port};
}

enum class ConnectionState : std::uint8_t {
  kNew,          // nothing but SYNs of the client
  kEstablished,  // more than that
  kClosing,      // FIN or RST of the client
};

/// What is known of a connection besides its key (ConnectionTable::key_of()).
struct Connection {
  std::uint64_t packets;       // from the client
  std::uint64_t bytes;         // of their inner packets, or of ESP where they are not decrypted
  ipsec::TunnelId tunnel;      // none: in the clear
  std::uint32_t last_seen_ms;  // modulo 2^32
  NodeId target;
  ConnectionState state;
  bool log : 1;  // the filter rule that let it in asks for a log record (spec D3)

  [[nodiscard]] bool clear() const { return tunnel == ipsec::TunnelId(); }

 private:
  friend class ConnectionTable;
  bool used_ : 1;
  bool v6_ : 1;
  std::uint32_t hash_;  // its low half. Of a free entry: number of the next free one + 1
};
static_assert(sizeof(Connection) == 32);

/// A copy for `testudo connections`.
struct ConnectionInfo {
  Endpoint client, dvipa;
  NodeId target;
  ConnectionState state = ConnectionState::kNew;
  ipsec::TunnelId tunnel;  // none: in the clear
  bool log = false;
  std::uint64_t packets = 0, bytes = 0;
  Duration idle{};
};

/// Longer timeouts are shortened to it: the time when a connection was last seen has 32 bits of milliseconds.
inline constexpr Duration kConnectionTimeoutMax = 720h;

struct ConnectionTableConfig {
  std::uint32_t capacity = 1 << 16;  // connections, of both families together
  /// Of them in the clear, at most: their SYNs are not authenticated, and a flood of them must leave room for the
  /// others. 0: three quarters.
  std::uint32_t clear_max = 0;
  Duration new_timeout = 30s;      // SYN and nothing more
  Duration idle_timeout = 124min;  // RFC 5382, REQ-5. No timeout is longer than kConnectionTimeoutMax
  Duration closing_timeout =
      4min;  // of silence after FIN or RST: the server may go on sending, the client acknowledges
};

class ConnectionTable {
 public:
  /// `log` is told when a connection with a log flag ends. Null: nobody is.
  ConnectionTable(const ConnectionTableConfig& config, const SipKey& key, policy::FlowLog* log = nullptr);

  /// Also a name for the flow in the replay ledger.
  [[nodiscard]] std::uint64_t hash(const ConnectionKey& key) const;
  /// Null: not there.
  [[nodiscard]] Connection* find(const ConnectionKey& key, std::uint64_t hash);
  /// The key must not be there. Null: no room.
  Connection* insert(const ConnectionKey& key, std::uint64_t hash, NodeId target, ipsec::TunnelId tunnel, Time now);
  void erase(Connection& connection);
  /// A packet of the client has passed: counts it and follows the flags (wire/tcp.h). They may be a forger's: all
  /// that FIN and RST do is to shorten the silence after which the connection is forgotten.
  void note(Connection& connection, std::uint8_t tcp_flags, std::size_t bytes, Time now);

  /// Looks at the next `budget` places, in turn, and erases connections that have been silent for too long.
  void age(Time now, std::size_t budget);

  /// Looks at `budget` places, beginning with `from`, and takes out the DVIPA's connections; they live on
  /// elsewhere, so the log hears nothing. Returns where to go on; 0: that was all.
  std::size_t forget(IpAddress dvipa, std::size_t from, std::size_t budget);

  [[nodiscard]] ConnectionKey key_of(const Connection& connection) const;
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return config_.capacity; }
  /// In no particular order, but the same in every run. Allocates.
  [[nodiscard]] std::vector<ConnectionInfo> list(Time now) const;
  /// Begins to load what prefetch_entry() will read.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&index_[hash & mask_]); }
  /// Begins to load what find() will read, if the index knows the hash.
  void prefetch_entry(std::uint64_t hash) const;

 private:
  struct Entry4 : Connection {
    std::uint32_t client, dvipa;  // host byte order
    std::uint16_t client_port, dvipa_port;
  };
  struct Entry6 : Connection {
    std::uint64_t client_high, client_low, dvipa_high, dvipa_low;  // as IpAddress has them
    std::uint16_t client_port, dvipa_port;
  };
  static_assert(sizeof(Entry4) == 48 && sizeof(Entry6) == 72);
  /// Entries of one family. Those from `touched` on have never been used, nor their memory.
  struct Pool {
    LargeMemory memory;
    std::size_t entry_size = 0;  // bytes
    std::uint32_t touched = 0;
    std::uint32_t free = 0;  // first free entry's number + 1

    [[nodiscard]] Connection& at(std::uint32_t number) const {
      return *reinterpret_cast<Connection*>(memory.data() + number * entry_size);
    }
  };

  [[nodiscard]] static bool is_v6(const ConnectionKey& key) { return key.client.address.is_v6(); }
  [[nodiscard]] static bool same(const Connection& connection, const ConnectionKey& key);
  static void write(Connection& connection, const ConnectionKey& key);
  [[nodiscard]] std::uint32_t take(Pool& pool) const;
  /// Places of entries that have ever been used: first the IPv4 ones, then the IPv6 ones.
  [[nodiscard]] std::size_t places() const { return std::size_t{pools_[0].touched} + pools_[1].touched; }
  [[nodiscard]] Connection& at_place(std::size_t place) const;
  /// An index slot names an entry: its number + 1, the IPv6 ones behind the IPv4 ones, and over it as many bits of
  /// the hash as there is room for, so that few entries are looked at in vain. 0: empty.
  [[nodiscard]] std::uint32_t slot_of(std::uint32_t name, std::uint64_t hash) const {
    return static_cast<std::uint32_t>(hash >> 32) << name_bits_ | name;
  }
  [[nodiscard]] bool may_be(std::uint32_t slot, std::uint64_t hash) const {
    return slot >> name_bits_ == slot_of(0, hash) >> name_bits_;
  }
  [[nodiscard]] Connection& named(std::uint32_t slot) const;
  [[nodiscard]] std::size_t connection_size(std::uint32_t slot) const;  // bytes
  [[nodiscard]] std::uint32_t name_of(const Connection& connection) const;
  [[nodiscard]] Duration timeout(ConnectionState state) const;
  void close_gap(std::size_t gap);

  ConnectionTableConfig config_;
  SipKey key_;
  policy::FlowLog* log_;
  std::array<Pool, 2> pools_;  // IPv4, IPv6
  LargeMemory index_memory_;
  std::uint32_t* index_ = nullptr;  // mask_ + 1 places: open addressing, linear probing
  std::size_t mask_ = 0;
  unsigned name_bits_ = 0;
  std::size_t size_ = 0;
  std::size_t clear_ = 0;
  std::size_t age_next_ = 0;
};

}  // namespace testudo::distributor
