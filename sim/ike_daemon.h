// SPDX-License-Identifier: Apache-2.0
// SimIkeDaemon: the IKE daemon of a simulated owner, in charon's place. It makes child SAs with clients, rekeys
// them when it is told that a limit is reached, and changes over as charon does: a rekeyed inbound SA stays
// for a while, the new outbound SA is used once the client must have it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "base/executor.h"
#include "ike/ike_daemon.h"
#include "sim/ike_exchange.h"
#include "sim/transcript.h"

namespace testudo::sim {

/// What client and daemon agree on without negotiating it.
struct ChildPolicy {
  std::uint64_t seed = 1;
  crypto::Suite suite = crypto::Suite::kAesGcm128Icv16;
  bool esn = false;
  bool udp_encapsulation = true;
  ipsec::LifesizeLimits limits;
  Duration delete_delay = 1s;  // how long a rekeyed inbound SA still takes packets
  Duration rekey_takes{};      // from an expiry to the first message
};

class SimIkeDaemon final : public ike::IkeDaemon {
 public:
  /// An outbound SA has been installed: for the simulation's checks.
  using OnOutbound = std::function<void(ike::SaName name, crypto::Suite suite)>;

  SimIkeDaemon(Executor& executor, Transcript& transcript, std::string node, const ChildPolicy& policy,
               OnOutbound on_outbound)
      : executor_(executor),
        transcript_(transcript),
        node_(std::move(node)),
        policy_(policy),
        on_outbound_(std::move(on_outbound)) {}

  Result<void> start(ike::IkeEvents& events) override;
  [[nodiscard]] bool connected() const override { return events_ != nullptr; }
  bool expire(ike::SaName name, IpAddress source, ike::Expiry expiry) override;
  bool acquire(const ike::Wanted& wanted) override;
  bool deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) override;

  /// From now on.
  void set_rekey_takes(Duration takes) { policy_.rekey_takes = takes; }
  /// Rekeys the newest child SA with this client from this side.
  void rekey(IpAddress client);
  [[nodiscard]] std::uint64_t rekeys() const { return rekeys_; }
  [[nodiscard]] std::uint64_t soft_expiries() const { return soft_expiries_; }
  [[nodiscard]] std::uint64_t hard_expiries() const { return hard_expiries_; }

 private:
  struct Child {
    Spi at_client;
    Spi at_dvipa;
    bool replaced = false;
    bool outbound = false;  // its outbound SA is installed
  };
  struct Peer {
    Endpoint local, remote;
    std::unique_ptr<IkeExchange> exchange;
    std::map<Spi, Child> children;  // by the SPI at the client's side
    Spi newest;
  };

  std::optional<IkeMessage> answer(Peer& peer, const IkeMessage& request);
  std::optional<IkeMessage> create(Peer& peer, const IkeMessage& request);
  void deleted(Peer& peer, Spi at_client);
  void replace(Peer& peer, Spi at_client);
  void request_rekey(Peer& peer, Spi at_client);
  void install(Peer& peer, const Child& child, ipsec::Direction direction);
  void install_outbound(Peer& peer, Child& child);
  [[nodiscard]] ike::Policy filters(const Peer& peer) const;
  [[nodiscard]] std::string tunnel(const Peer& peer) const;

  Executor& executor_;
  Transcript& transcript_;
  std::string node_;
  ChildPolicy policy_;
  OnOutbound on_outbound_;
  ike::IkeEvents* events_ = nullptr;
  std::map<Endpoint, Peer> peers_;  // by the client's endpoint
  std::uint64_t rekeys_ = 0;
  std::uint64_t soft_expiries_ = 0;
  std::uint64_t hard_expiries_ = 0;
};

}  // namespace testudo::sim
