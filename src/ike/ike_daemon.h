// SPDX-License-Identifier: Apache-2.0
// IkeDaemon: the IKEv2 daemon of one node, as the node sees it: it asks for SAs and policies (IkeEvents), and is
// told of expired SAs, wanted ones and IKE datagrams. CharonBridge (bridge.h) is the real one; tests and the
// simulation have their own.
//
//   class Node : public ike::IkeEvents { … };
//   daemon.start(node);
//   daemon.deliver_ike({dvipa, 500}, {client, 500}, payload);   // answers come through IkeEvents::send_ike
//
// Everything runs on the control thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/strong.h"
#include "ipsec/sa_parameters.h"
#include "xcf/messages.pb.h"

namespace testudo::ike {

/// How the IKE daemon names an installed SA: SPI, destination and protocol (RFC 4301 section 4.1).
struct SaName {
  Spi spi;
  IpAddress destination;
  ipsec::Protocol protocol = ipsec::Protocol::kEsp;
  friend constexpr auto operator<=>(const SaName&, const SaName&) = default;
};

[[nodiscard]] SaName name_of(const ipsec::SaParameters& sa);

/// What an SA has carried, over all hosts.
struct SaUse {
  std::uint64_t bytes = 0;
  std::uint64_t packets = 0;
  bool used = false;  // false: never; idle_seconds says nothing
  std::uint64_t idle_seconds = 0;
};

/// New outer addresses of an SA: a NAT has given the peer another mapping, or it moved (RFC 4555).
struct SaPath {
  Endpoint source;
  Endpoint destination;
  bool udp_encapsulation = false;
};

/// What the daemon may propose, or accept, for one kind of child SA.
struct Transform {
  std::uint32_t number = 0;    // IANA
  std::uint32_t key_bits = 0;  // without salt; 0: as the algorithm has it
  friend bool operator==(const Transform&, const Transform&) = default;
};
struct Proposal {
  ipsec::Protocol protocol = ipsec::Protocol::kEsp;
  std::vector<Transform> encryption;  // any of them
  std::vector<Transform> integrity;   // any of them; none with an AEAD
  friend bool operator==(const Proposal&, const Proposal&) = default;
};
struct ChildConfiguration {
  std::string connection, child;  // names
  std::uint32_t mode = 2;         // charon's: 1 transport, 2 tunnel, 3 BEET
  bool ipcomp = false;
  bool sha256_96 = false;  // HMAC-SHA2-256 cut to 96 bits
  std::vector<Proposal> proposals;
  friend bool operator==(const ChildConfiguration&, const ChildConfiguration&) = default;
};

/// One policy of charon.
struct Policy {
  IpAddress dvipa;                       // local end of the SAs that the policy is tied to
  std::vector<xcf::v1::Filter> filters;  // without ids
};

/// What the daemon asks of the node. An error goes to the daemon's log and fails its negotiation.
class IkeEvents {
 public:
  IkeEvents() = default;
  IkeEvents(const IkeEvents&) = delete;
  IkeEvents& operator=(const IkeEvents&) = delete;
  virtual ~IkeEvents() = default;

  /// The daemon has come. `restarted`: it is another process than the one before and knows none of the SAs that are
  /// installed. They carry traffic on until their hard limit, which the node itself then enforces, or until the
  /// peer has negotiated anew (Installation::daemon_restarted()).
  virtual void ike_connected(const std::string& daemon, bool restarted) = 0;
  virtual void ike_disconnected(const std::string& reason) = 0;
  /// All that the daemon may negotiate: after each connection, and when it has changed. Fails, naming connection,
  /// child and proposal, when some of it could not be carried out.
  virtual Result<void> ike_configuration(const std::vector<ChildConfiguration>& children) = 0;

  /// An inbound SPI of `dvipa`, for an SA from `peer`; fails when `dvipa` is not owned here.
  virtual Result<Spi> allocate_spi(IpAddress dvipa, IpAddress peer) = 0;
  /// Without an id; limits checked, suite and tunnel name translated. Fails when `sa.local` is not owned here.
  virtual Result<void> add_sa(ipsec::SaParameters sa) = 0;
  virtual Result<void> update_sa(SaName name, const SaPath& path) = 0;
  virtual Result<SaUse> query_sa(SaName name) = 0;
  /// Also for an SPI that was allocated and never used.
  virtual Result<void> delete_sa(SaName name) = 0;
  virtual void flush_sas() = 0;

  /// The same policy may be added several times (a rekeyed CHILD_SA has its predecessor's): it goes with the last
  /// delete.
  virtual Result<void> add_policy(const Policy& policy) = 0;
  virtual Result<void> delete_policy(const Policy& policy) = 0;
  virtual void flush_policies() = 0;

  /// Without the non-ESP marker, as path::IkeDatagram has it. A NAT keepalive is the one byte 0xff, sent without a
  /// marker (RFC 3948 section 2.3).
  virtual void send_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) = 0;
  /// One sentence for the log: a refused connection or message.
  virtual void ike_warning(const std::string& text) = 0;
};

enum class Expiry : std::uint8_t {
  kSoft,  // rekey
  kHard,  // delete, and negotiate anew if the configuration says so
};

/// What a packet that needs an SA looks like (spec F1). Port 0: any.
struct Wanted {
  std::uint32_t reqid = 0;
  Endpoint source;
  Endpoint destination;
  std::uint8_t protocol = 0;
};

class IkeDaemon {
 public:
  IkeDaemon() = default;
  IkeDaemon(const IkeDaemon&) = delete;
  IkeDaemon& operator=(const IkeDaemon&) = delete;
  virtual ~IkeDaemon() = default;

  virtual Result<void> start(IkeEvents& events) = 0;
  [[nodiscard]] virtual bool connected() const = 0;

  // False: the daemon is away or takes no more; nothing was told.
  virtual bool expire(SaName name, IpAddress source, Expiry expiry) = 0;
  virtual bool acquire(const Wanted& wanted) = 0;
  /// Without the non-ESP marker. IKE retransmits what is lost here; the caller counts Drop::kBridgeFull.
  virtual bool deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) = 0;
};

}  // namespace testudo::ike
