// SPDX-License-Identifier: Apache-2.0
// SAs and inner packets for tests.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "ipsec/packet_for_test.h"
#include "ipsec/transforms.h"
#include "wire/esp.h"
#include "wire/ip.h"
#include "wire/tcp.h"

namespace testudo::ipsec {

inline constexpr std::array kAllSuites = {crypto::Suite::kAesGcm128Icv16, crypto::Suite::kAesGcm256Icv16,
                                          crypto::Suite::kAesCbc128HmacSha256, crypto::Suite::kAesCbc256HmacSha256};

inline std::unique_ptr<crypto::Engine> engine_for_test(crypto::Backend backend = crypto::Backend::kBest) {
  auto engine = crypto::make_engine(backend);
  CHECK(engine.has_value());
  return std::move(*engine);
}

inline SaParameters parameters_for_test(Direction direction, crypto::Suite suite, std::uint64_t id = 1) {
  SaParameters p;
  p.id = SaId(id);
  p.direction = direction;
  p.spi = Spi(0xc0ffee00);
  p.local = IpAddress(0xc0000264);
  p.remote = IpAddress(0xc0000201);
  p.tunnel = "roadwarrior-1";
  p.suite = suite;
  p.key = Secret(crypto::sizes(suite).key);
  SeededRng(7).fill(p.key.mutable_bytes());
  p.replay_window = 64;
  return p;
}

/// A worker's part, with room for a few keys.
inline std::unique_ptr<Transforms> transforms_for_test(Rng& rng, crypto::Backend backend = crypto::Backend::kBest) {
  auto transforms = Transforms::make(engine_for_test(backend), rng, 256);
  CHECK(transforms.has_value());
  return std::move(*transforms);
}

/// The whole outer packet.
inline Bytes protect(Transforms& transforms, Sa& sa, const Bytes& inner, SeqNo seq) {
  Bytes out(encap_size(sa, inner, inner.size()) + kEsnTailroom);
  EncapRequest request{.sa = &sa, .seq = seq, .header = inner, .out = out.data()};
  transforms.encap({&request, 1});
  CHECK(!request.drop && request.size == out.size() - kEsnTailroom);
  out.resize(request.size);
  return out;
}

/// A whole outer packet to be opened, in place.
inline DecapRequest decap_of(Sa& sa, Bytes& packet, SeqNo seq) {
  DecapRequest request;
  request.sa = &sa;
  request.seq = seq;
  request.data = packet.data();
  request.size = static_cast<std::uint32_t>(packet.size());
  request.offset = static_cast<std::uint32_t>(wire::parse_ip(packet)->header_size());
  return request;
}

/// What is behind the outer header.
inline Bytes protect_bare(Transforms& transforms, Sa& sa, const Bytes& inner, SeqNo seq) {
  Bytes out = protect(transforms, sa, inner, seq);
  if (sa.udp_encapsulation()) return out;
  const std::size_t head = wire::parse_ip(out)->header_size();
  out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(head));
  return out;
}

/// Bare ESP with exactly this text under the SA's key, if that is as parameters_for_test() makes it: what a peer
/// with the right key and a wrong mind sends.
inline Bytes seal_text(crypto::Engine& engine, const Sa& sa, const Bytes& text, SeqNo seq) {
  const crypto::SuiteSizes& sizes = crypto::sizes(sa.suite());
  CHECK(text.size() % sizes.block == 0);
  Bytes esp(wire::kEspHeaderSize + sizes.iv + text.size() + sizes.icv, 0x5a);
  wire::EspHeader header;
  header.spi_be = Be<std::uint32_t>(sa.spi().value());
  header.sequence_be = Be<std::uint32_t>(static_cast<std::uint32_t>(seq.value()));
  std::memcpy(esp.data(), &header, sizeof header);
  std::copy(text.begin(), text.end(), esp.begin() + 8 + static_cast<std::ptrdiff_t>(sizes.iv));
  const auto key = parameters_for_test(Direction::kOutbound, sa.suite()).key;
  const auto context = engine.make_context(sa.suite(), key, sa.esn() ? crypto::Esn::kYes : crypto::Esn::kNo);
  CHECK(context.has_value());
  const crypto::Frame frame{context->get(), esp.data(), static_cast<std::uint32_t>(esp.size()),
                            static_cast<std::uint32_t>(seq.value() >> 32)};
  engine.seal({&frame, 1});
  return esp;
}

/// A worker's engine and the control thread's factory; both ends of one SA, with the same key.
struct SaPair {
  explicit SaPair(crypto::Suite suite, bool esn = false, crypto::Backend backend = crypto::Backend::kBest)
      : transforms(transforms_for_test(rng, backend)) {
    out = make(Direction::kOutbound, suite, esn);
    in = make(Direction::kInbound, suite, esn);
  }
  /// `p`: of the sending end. The other one has the same addresses the other way round.
  explicit SaPair(SaParameters p) : transforms(transforms_for_test(rng)) {
    out = std::move(*factory.create(p));
    p.direction = Direction::kInbound;
    std::swap(p.local, p.remote);
    in = std::move(*factory.create(std::move(p)));
  }
  std::unique_ptr<Sa> make(Direction direction, crypto::Suite suite, bool esn) {
    SaParameters p = parameters_for_test(direction, suite);
    p.esn = esn;
    auto sa = factory.create(std::move(p));
    CHECK(sa.has_value());
    return std::move(*sa);
  }

  SeededRng rng{11};
  std::unique_ptr<Transforms> transforms;
  SaFactory factory{0xabcdef};
  std::unique_ptr<Sa> out, in;
};

/// An inner IPv4 packet with a TCP header, `size` bytes in all (at least 20; the TCP header is cut short below 40).
inline Bytes inner_packet(std::size_t size, std::uint8_t tcp_flags = wire::kTcpAck, std::size_t options = 0) {
  const std::size_t ip_size = wire::kIpv4HeaderSize + options;
  Bytes bytes(std::max(size, ip_size + wire::kTcpHeaderSize));
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i * 7);
  wire::build_ipv4(
      std::span(bytes).first<wire::kIpv4HeaderSize>(),
      {.source = IpAddress(0x0a000001), .destination = IpAddress(0xc0000264), .protocol = wire::kProtocolTcp},
      size - wire::kIpv4HeaderSize);
  bytes[0] = static_cast<std::uint8_t>(0x40 | ip_size / 4);
  wire::TcpHeader tcp;
  tcp.source_port = Be<std::uint16_t>(40000);
  tcp.destination_port = Be<std::uint16_t>(443);
  tcp.flags = tcp_flags;
  std::memcpy(bytes.data() + ip_size, &tcp, sizeof tcp);
  bytes.resize(size);
  return bytes;
}

}  // namespace testudo::ipsec
