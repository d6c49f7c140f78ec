// SPDX-License-Identifier: Apache-2.0
#include "sim/ike_exchange.h"

#include <array>
#include <cstring>

#include "base/rng.h"

namespace testudo::sim {
namespace {

constexpr Duration kRepeat = 150ms;

using Words = std::array<std::uint32_t, 4>;

}  // namespace

void IkeExchange::request(IkeMessage message, Answered answered) {
  message.from_client = client_;
  message.response = false;
  message.id = next_id_++;
  pending_[message.id] = {message, std::move(answered)};
  repeat(message.id);
}

void IkeExchange::repeat(std::uint32_t id) {
  const auto found = pending_.find(id);
  if (found == pending_.end()) return;
  transmit(found->second.message);
  executor_.run_after(kRepeat, [this, id] { repeat(id); });
}

void IkeExchange::transmit(const IkeMessage& m) const {
  const auto kind = static_cast<std::uint32_t>((m.from_client ? 1 : 0) | (m.response ? 2 : 0) |
                                               static_cast<int>(m.operation) << 2);
  const Words words = {0x51494b45U << 8 | kind, m.id, m.spi.value(), m.replaces.value()};
  hooks_.send({reinterpret_cast<const std::uint8_t*>(words.data()), sizeof words});
}

void IkeExchange::receive(std::span<const std::uint8_t> payload) {
  Words words;
  if (payload.size() != sizeof words) return;
  std::memcpy(words.data(), payload.data(), sizeof words);
  const IkeMessage message{.from_client = (words[0] & 1) != 0,
                           .response = (words[0] & 2) != 0,
                           .operation = static_cast<IkeMessage::Operation>(words[0] >> 2 & 1),
                           .id = words[1],
                           .spi = Spi(words[2]),
                           .replaces = Spi(words[3])};
  if (message.response) {
    if (message.from_client != client_) return;
    auto pending = pending_.extract(message.id);
    if (!pending.empty()) pending.mapped().answered(message);
    return;
  }
  if (message.from_client == client_) return;
  if (const auto known = answers_.find(message.id); known != answers_.end()) return transmit(known->second);
  auto answer = hooks_.answer(message);
  if (!answer) return;
  answer->from_client = message.from_client;
  answer->response = true;
  answer->operation = message.operation;
  answer->id = message.id;
  answers_[message.id] = *answer;
  transmit(*answer);
}

Secret child_key(std::uint64_t seed, Spi at_dvipa, Spi at_client, bool to_client, crypto::Suite suite) {
  Secret key(crypto::sizes(suite).key);
  SeededRng rng(seed ^ std::uint64_t{at_dvipa.value()} << 32 ^ at_client.value() ^ (to_client ? 0x5a5a5a5a5a : 0));
  rng.fill(key.mutable_bytes());
  return key;
}

}  // namespace testudo::sim
