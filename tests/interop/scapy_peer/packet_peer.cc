// SPDX-License-Identifier: Apache-2.0
// The IPsec engine as a program, so that an independent implementation can judge its bytes packet by packet: one
// JSON object a line on standard input, one on standard output. No cluster, no sockets: SA cache, replay window and
// transforms as a worker uses them, with the sequence numbers given.
//
//   {"op": "install", "direction": "in", "protocol": "esp", "mode": "tunnel", "spi": 4096, "local": "192.0.2.100",
//    "remote": "198.51.100.7", "suite": "AES-GCM-128", "key": "…", "esn": false}                 → {"id": 1}
//   {"op": "protect", "sa": 1, "sequence": 5, "packet": "…"}                            → {"packet": "…"}
//   {"op": "open", "packet": "…", "sequence_high": 0}             → {"packet": "…"} or {"drop": "bad_icv"}
//
// Bytes are hex digits. What cannot be understood is answered with {"error": "…"}.
#include <array>
#include <cstdint>
#include <exception>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "crypto/engine.h"
#include "ipsec/sa.h"
#include "ipsec/sad.h"
#include "ipsec/transforms.h"
#include "wire/ah.h"
#include "wire/esp.h"
#include "wire/ip.h"

namespace testudo {
namespace {

using json = nlohmann::json;
using Bytes = std::vector<std::uint8_t>;

template <typename T>
T must(Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

Bytes from_hex(const std::string& text) {
  if (text.size() % 2 != 0) throw std::runtime_error("an odd number of hex digits");
  Bytes bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::uint8_t>(std::stoul(text.substr(2 * i, 2), nullptr, 16));
  }
  return bytes;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) text += {kDigits[byte >> 4], kDigits[byte & 15]};
  return text;
}

crypto::Suite suite_of(const json& j) {
  const auto suite = crypto::suite_of(j.at("suite").get<std::string>());
  if (!suite) throw std::runtime_error("no suite has the name " + j.at("suite").dump());
  return *suite;
}

json drop_of(Drop reason) { return {{"drop", kDropNames[static_cast<std::size_t>(reason)]}}; }

class Peer {
 public:
  json answer(const json& request) {
    const auto op = request.at("op").get<std::string>();
    if (op == "install") return install(request);
    if (op == "protect") return protect(request);
    if (op == "open") return open(request);
    throw std::runtime_error("no operation has the name " + op);
  }

 private:
  json install(const json& j) {
    ipsec::SaParameters p;
    p.id = SaId(++last_id_);
    p.direction = j.at("direction") == "in" ? ipsec::Direction::kInbound : ipsec::Direction::kOutbound;
    p.protocol = j.at("protocol") == "ah" ? ipsec::Protocol::kAh : ipsec::Protocol::kEsp;
    p.mode = j.at("mode") == "tunnel" ? ipsec::Mode::kTunnel : ipsec::Mode::kTransport;
    p.spi = Spi(j.at("spi").get<std::uint32_t>());
    p.local = must(IpAddress::parse(j.at("local").get<std::string>()));
    p.remote = must(IpAddress::parse(j.at("remote").get<std::string>()));
    p.tunnel = "tunnel " + std::to_string(last_id_);
    p.suite = suite_of(j);
    p.key = Secret(from_hex(j.at("key")));
    p.esn = j.at("esn").get<bool>();
    if (const auto esp = j.find("inner_esp"); esp != j.end()) {
      p.inner_esp = {.spi = Spi(esp->at("spi").get<std::uint32_t>()),
                     .suite = suite_of(*esp),
                     .key = Secret(from_hex(esp->at("key")))};
    }
    if (sad_.install(must(factory_.create(std::move(p))))) throw std::runtime_error("an SA like it is there already");
    return {{"id", last_id_}};
  }

  json protect(const json& j) {
    const Bytes packet = from_hex(j.at("packet"));
    ipsec::Sa* sa = sad_.find(SaId(j.at("sa").get<std::uint64_t>()));
    if (sa == nullptr) throw std::runtime_error("no such SA");
    Bytes out(ipsec::encap_size(*sa, packet, packet.size()) + ipsec::kEsnTailroom);
    ipsec::EncapRequest request{.sa = sa,
                                .seq = SeqNo(j.at("sequence").get<std::uint64_t>()),
                                .header = packet,
                                .out = out.data(),
                                .ip_id = static_cast<std::uint16_t>(last_id_)};
    transforms_->encap({&request, 1});
    if (request.drop) return drop_of(*request.drop);
    if (request.size + ipsec::kEsnTailroom != out.size()) throw std::runtime_error("encap_size() was wrong");
    return {{"packet", to_hex(std::span(out).first(request.size))}};
  }

  // RFC 4303 and 4302, section 3.4: SA look-up, sequence number, ICV, window.
  json open(const json& j) {
    Bytes packet = from_hex(j.at("packet"));
    const std::size_t size = packet.size();
    packet.resize(size + ipsec::kEsnTailroom);
    const auto ip = wire::parse_ip(std::span(packet).first(size));
    if (!ip) return drop_of(Drop::kMalformed);
    const bool ah = ip->protocol() == wire::kProtocolAh;
    if (ip->payload().size() < 12) return drop_of(Drop::kTruncated);
    const auto word = [&](std::size_t at) {
      const auto b = ip->payload().subspan(at, 4);
      return static_cast<std::uint32_t>(b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3]);
    };
    ipsec::Sa* sa = sad_.find_inbound(Spi(word(ah ? 4 : 0)), ah ? ipsec::Protocol::kAh : ipsec::Protocol::kEsp,
                                      ip->source(), ip->destination());
    if (sa == nullptr) return drop_of(Drop::kUnknownSpi);
    const SeqNo seq(j.at("sequence_high").get<std::uint64_t>() << 32 | word(ah ? 8 : 4));
    if (const auto reason = sa->replay().check(seq)) return drop_of(*reason);
    ipsec::DecapRequest request{.sa = sa,
                                .seq = seq,
                                .data = packet.data(),
                                .size = static_cast<std::uint32_t>(ip->total_size()),
                                .offset = static_cast<std::uint32_t>(ip->header_size())};
    transforms_->decap({&request, 1});
    if (request.authentic) sa->replay().commit(seq);
    if (request.drop) return drop_of(*request.drop);
    return {{"packet", to_hex(request.inner)}};
  }

  KernelRng rng_;
  ipsec::SaFactory factory_{1};
  std::unique_ptr<ipsec::Transforms> transforms_ =
      must(ipsec::Transforms::make(must(crypto::make_engine(crypto::Backend::kBest)), rng_));
  ipsec::Sad sad_;
  std::uint64_t last_id_ = 0;
};

json answer(Peer& peer, const std::string& line) {
  try {
    return peer.answer(json::parse(line));
  } catch (const std::exception& e) {
    return {{"error", e.what()}};
  }
}

}  // namespace
}  // namespace testudo

int main() {
  testudo::Peer peer;
  std::string line;
  while (std::getline(std::cin, line)) std::cout << testudo::answer(peer, line).dump() << std::endl;
  return 0;
}
