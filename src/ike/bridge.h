// SPDX-License-Identifier: Apache-2.0
// CharonBridge: strongSwan's charon as the node's IkeDaemon. Listens on a Unix socket of type SEQPACKET, to which
// the plugin (plugins/charon) connects, and again after either side has restarted. One charon at a time: a newer
// connection replaces the former one.
//
//   ike::CharonBridge bridge(loop, "/run/testudo/t1-charon.sock");
//   if (auto up = bridge.start(node); !up) return up;
//
// The socket has mode 0600 and root as its owner, and a peer that is not root is turned away (SO_PEERCRED): keys
// pass here. Control thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ike/bridge_protocol.h"
#include "ike/ike_daemon.h"
#include "io/descriptor.h"
#include "io/loop.h"

namespace testudo::ike {

class CharonBridge final : public IkeDaemon {
 public:
  CharonBridge(io::Loop& loop, std::string path);
  ~CharonBridge() override;

  /// Fails when the folder is missing, the path is longer than a Unix socket's may be (107 bytes), or another
  /// process listens there.
  Result<void> start(IkeEvents& events) override;
  [[nodiscard]] bool connected() const override { return peer_.open() && protocol_->greeted(); }
  bool expire(SaName name, IpAddress source, Expiry expiry) override;
  bool acquire(const Wanted& wanted) override;
  bool deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) override;

 private:
  void accept_peer();
  void receive();
  void handle(std::span<std::uint8_t> message);
  void disconnect(const std::string& reason);
  bool send(std::span<const std::uint8_t> message);
  Result<void> listen();

  io::Loop& loop_;
  const std::string path_;
  IkeEvents* events_ = nullptr;
  std::unique_ptr<BridgeProtocol> protocol_;
  io::Descriptor listener_;
  io::Descriptor peer_;
  std::vector<std::uint8_t> buffer_;
};

}  // namespace testudo::ike
