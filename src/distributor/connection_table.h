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
// All memory is taken at construction. The hash is keyed, because clients choose addresses and ports. Thread: one
// worker. Pointers stay valid until the connection is erased or aged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/address.h"
#include "base/drop.h"
#include "base/strong.h"
#include "base/time.h"
#include "distributor/siphash.h"
#include "ipsec/tunnel.h"

namespace testudo::distributor {

struct ConnectionKey {
  Endpoint client;
  Endpoint dvipa;
  friend bool operator==(const ConnectionKey&, const ConnectionKey&) = default;
};

enum class ConnectionState : std::uint8_t {
  kNew,          // nothing but SYNs of the client
  kEstablished,  // more than that
  kClosing,      // FIN or RST of the client
};

struct Connection {
  ConnectionKey key;
  NodeId target;
  ConnectionState state = ConnectionState::kNew;
  ipsec::TunnelId tunnel;     // none: in the clear
  std::uint64_t packets = 0;  // from the client
  std::uint64_t bytes = 0;    // of their inner packets, or of ESP where they are not decrypted
  Time last_seen{};

  [[nodiscard]] bool clear() const { return tunnel == ipsec::TunnelId(); }
};

/// A copy for `testudo connections`.
struct ConnectionInfo {
  Endpoint client, dvipa;
  NodeId target;
  ConnectionState state = ConnectionState::kNew;
  ipsec::TunnelId tunnel;  // none: in the clear
  std::uint64_t packets = 0, bytes = 0;
  Duration idle{};
};

struct ConnectionTableConfig {
  std::uint32_t capacity = 1 << 16;  // connections
  /// Of them in the clear, at most: their SYNs are not authenticated, and a flood of them must leave room for the
  /// others. 0: three quarters.
  std::uint32_t clear_max = 0;
  Duration new_timeout = 30s;      // SYN and nothing more
  Duration idle_timeout = 124min;  // RFC 5382, REQ-5
  Duration closing_timeout =
      4min;  // of silence after FIN or RST: the server may go on sending, the client acknowledges
};

class ConnectionTable {
 public:
  ConnectionTable(const ConnectionTableConfig& config, const SipKey& key);

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

  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] std::size_t capacity() const { return entries_.size(); }
  /// In no particular order, but the same in every run. Allocates.
  [[nodiscard]] std::vector<ConnectionInfo> list(Time now) const;
  /// Begins to load what find() will read.
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&index_[hash & mask_]); }

 private:
  struct Entry {
    Connection connection;
    std::uint64_t hash = 0;
    std::uint32_t next_free = 0;  // entry number + 1
    bool used = false;
  };

  [[nodiscard]] Duration timeout(ConnectionState state) const;
  [[nodiscard]] std::size_t place_of(std::uint32_t number, std::uint64_t hash) const;
  void close_gap(std::size_t gap);

  ConnectionTableConfig config_;
  SipKey key_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> index_;  // open addressing, linear probing; entry number + 1, 0: empty
  std::size_t mask_ = 0;
  std::uint32_t free_ = 0;  // first free entry's number + 1
  std::size_t size_ = 0;
  std::size_t clear_ = 0;
  std::size_t age_next_ = 0;
};

}  // namespace testudo::distributor
