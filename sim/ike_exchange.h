// SPDX-License-Identifier: Apache-2.0
// IkeExchange: as much of IKEv2 as the simulation needs between a client and the IKE daemon of a DVIPA's owner:
// requests that are repeated until they are answered, each carried out once (RFC 7296 section 2.1), to make and to
// delete child SAs. Keys come from the two SPIs and the seed; nothing here is secret.
//
//   IkeExchange ike(executor, {.send = …, .answer = …});
//   ike.request({.operation = IkeMessage::Operation::kCreate, .spi = mine, .replaces = 0}, [](const IkeMessage& m)
//   {…}); ike.receive(payload);                          // what the other side sent
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "base/secret.h"
#include "base/strong.h"
#include "crypto/suite.h"

namespace testudo::sim {

struct IkeMessage {
  enum class Operation : std::uint8_t { kCreate, kDelete };
  bool from_client = false;  // the exchange's initiator
  bool response = false;
  Operation operation = Operation::kCreate;
  std::uint32_t id = 0;  // of the exchange, per initiator
  Spi spi{};       // kCreate: the sender's inbound one. kDelete: of the child SA, the one at the client's side
  Spi replaces{};  // kCreate as a rekey: the SPI at the client's side of the child SA that it replaces
};

class IkeExchange {
 public:
  using Answered = std::function<void(const IkeMessage& response)>;
  struct Hooks {
    std::function<void(std::span<const std::uint8_t> payload)> send;
    /// Carries a request out; nothing: it cannot be answered.
    std::function<std::optional<IkeMessage>(const IkeMessage& request)> answer;
  };

  IkeExchange(Executor& executor, bool client, Hooks hooks)
      : executor_(executor), client_(client), hooks_(std::move(hooks)) {}

  void request(IkeMessage message, Answered answered);
  void receive(std::span<const std::uint8_t> payload);

 private:
  struct Pending {
    IkeMessage message;
    Answered answered;
  };
  void transmit(const IkeMessage& message) const;
  void repeat(std::uint32_t id);

  Executor& executor_;
  bool client_;
  Hooks hooks_;
  std::uint32_t next_id_ = 1;
  std::map<std::uint32_t, Pending> pending_;
  std::map<std::uint32_t, IkeMessage> answers_;  // to the other side's requests
};

/// The key of one direction of a child SA.
[[nodiscard]] Secret child_key(std::uint64_t seed, Spi at_dvipa, Spi at_client, bool to_client,
                               crypto::Suite suite);

}  // namespace testudo::sim
