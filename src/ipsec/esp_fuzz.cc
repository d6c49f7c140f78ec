// SPDX-License-Identifier: Apache-2.0
// Inbound ESP, AH and AH over ESP under keys that are right. Input: one byte that chooses the SA (the first bit:
// which of the two below), then
//   raw      a packet as it may come from the network: nothing of it is ever authentic;
//   sealed   a text, which is put under the right keys behind a good outer header: padding, next header and inner
//            packet as a peer may send them. With AH alone: the next header, then the text.
// Either way the peek reads the same bytes first, and what it says agrees with what decapsulation finds.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "ipsec/ah.h"
#include "ipsec/transforms.h"
#include "wire/ah.h"
#include "wire/esp.h"
#include "wire/ip.h"

namespace testudo::ipsec {
namespace {

using crypto::Cipher;
using crypto::Integrity;
using crypto::Suite;
using Bytes = std::vector<std::uint8_t>;

constexpr Spi kSpi{0x11223344}, kInnerSpi{0x55667788};
constexpr Suite kAh{Cipher::kNone, Integrity::kHmacSha256};
constexpr std::array kSuites = {Suite::kAesGcm128Icv16, Suite::kAesCbc128HmacSha256,
                                Suite{Cipher::kNull, Integrity::kHmacSha1}, Suite::kChacha20Poly1305};

class Target {
 public:
  Target() {
    for (const bool v6 : {false, true}) {
      for (const Mode mode : {Mode::kTunnel, Mode::kTransport}) {
        for (const Suite suite : kSuites) {
          add({.suite = suite}, v6, mode);
          add({.suite = suite, .udp = true}, v6, mode);
          add({.suite = suite, .ah = true}, v6, mode);
        }
        add({.ah = true}, v6, mode);
      }
    }
  }

  void run(std::uint8_t choice, std::span<const std::uint8_t> input) {
    const Entry& entry = entries_[(choice & 0x7fu) % entries_.size()];
    if (input.size() > 2000) return;
    if ((choice & 0x80) == 0) return raw(entry, input);
    if (const auto packet = seal(entry, input)) sealed(entry, *packet);
  }

 private:
  struct Kind {
    std::optional<Suite> suite{};  // ESP
    bool udp = false, ah = false;
  };
  struct Entry {
    Kind kind;
    std::unique_ptr<Sa> sa;
    crypto::OwnedContext esp, ah;
  };

  void add(const Kind& kind, bool v6, Mode mode) {
    SaParameters p;
    p.id = SaId(entries_.size() + 1);
    p.spi = kSpi;
    p.mode = mode;
    p.local = v6 ? *IpAddress::parse("2001:db8::64") : IpAddress(0xc0000264);
    p.remote = v6 ? *IpAddress::parse("2001:db8::1") : IpAddress(0xc0000201);
    p.tunnel = "fuzz";
    p.udp_encapsulation = kind.udp;
    Entry entry{.kind = kind, .sa = nullptr, .esp = {}, .ah = {}};
    if (kind.suite) entry.esp = context(*kind.suite);
    if (kind.ah) entry.ah = context(kAh);
    p.protocol = kind.ah ? Protocol::kAh : Protocol::kEsp;
    p.suite = kind.ah ? kAh : *kind.suite;
    p.key = Secret(crypto::sizes(p.suite).key);
    if (kind.ah && kind.suite)
      p.inner_esp = InnerEsp{kInnerSpi, *kind.suite, Secret(crypto::sizes(*kind.suite).key)};
    auto sa = factory_.create(std::move(p));
    CHECK(sa.has_value());
    entry.sa = std::move(*sa);
    entries_.push_back(std::move(entry));
  }

  crypto::OwnedContext context(Suite suite) {
    auto made = transforms_->engine().make_context(suite, Secret(crypto::sizes(suite).key), crypto::Esn::kNo);
    CHECK(made.has_value());
    return std::move(*made);
  }

  static std::size_t offset_of(const Entry& entry, std::span<const std::uint8_t> packet) {
    if (entry.kind.udp) return 0;
    const auto ip = wire::parse_ip_prefix(packet).view;
    return ip ? ip->header_size() : packet.size();
  }

  void raw(const Entry& entry, std::span<const std::uint8_t> input) {
    const Bytes packet(input.begin(), input.end());  // exact, for the sanitizer
    (void)look(entry, packet);
    const std::size_t at = offset_of(entry, packet) + (entry.kind.ah ? 8 : 4);  // the sequence number
    std::uint32_t number = 0;
    if (at + 4 <= packet.size()) number = reinterpret_cast<const Be<std::uint32_t>*>(packet.data() + at)->host();
    CHECK(!open(entry, packet, SeqNo(number)).authentic);
  }

  // Nothing: the text does not fit the suite's blocks.
  std::optional<Bytes> seal(const Entry& entry, std::span<const std::uint8_t> input) {
    if (input.empty()) return std::nullopt;
    std::uint8_t next = wire::kProtocolEsp;
    Bytes inside;
    if (entry.kind.suite) {
      const std::size_t block = crypto::sizes(*entry.kind.suite).block;
      const std::size_t usable = input.size() / block * block;
      if (usable == 0) return std::nullopt;
      inside = seal_esp(entry, input.first(usable));
    } else {
      next = input[0];
      inside.assign(input.begin() + 1, input.end());
    }
    if (entry.kind.udp) return inside;
    return entry.kind.ah ? seal_ah(entry, inside, next) : behind_header(entry, inside, wire::kProtocolEsp);
  }

  Bytes seal_esp(const Entry& entry, std::span<const std::uint8_t> text) {
    const crypto::SuiteSizes& sizes = crypto::sizes(*entry.kind.suite);
    Bytes esp(wire::kEspHeaderSize + sizes.iv + text.size() + sizes.icv);
    wire::EspHeader header;
    header.spi_be = Be<std::uint32_t>((entry.kind.ah ? kInnerSpi : kSpi).value());
    header.sequence_be = Be<std::uint32_t>(1);
    std::memcpy(esp.data(), &header, sizeof header);
    std::ranges::copy(text, esp.begin() + static_cast<std::ptrdiff_t>(wire::kEspHeaderSize + sizes.iv));
    const crypto::Frame frame{entry.esp.get(), esp.data(), static_cast<std::uint32_t>(esp.size()), 0};
    transforms_->engine().seal({&frame, 1});
    return esp;
  }

  static Bytes behind_header(const Entry& entry, const Bytes& payload, std::uint8_t protocol) {
    Bytes packet(wire::ip_header_size(entry.sa->local()));
    wire::build_ip(packet, {.source = entry.sa->remote(), .destination = entry.sa->local(), .protocol = protocol},
                   payload.size());
    packet.insert(packet.end(), payload.begin(), payload.end());
    return packet;
  }

  Bytes seal_ah(const Entry& entry, const Bytes& inside, std::uint8_t next) {
    Bytes ah(entry.sa->shape().ah);
    wire::AhHeader header;
    header.next_header = next;
    header.length = static_cast<std::uint8_t>(ah.size() / 4 - 2);
    header.spi_be = Be<std::uint32_t>(kSpi.value());
    header.sequence_be = Be<std::uint32_t>(1);
    std::memcpy(ah.data(), &header, sizeof header);
    ah.insert(ah.end(), inside.begin(), inside.end());
    Bytes packet = behind_header(entry, ah, wire::kProtocolAh);
    const std::size_t head = packet.size() - ah.size();
    Bytes covered = packet;
    CHECK(!zero_mutable(std::span(covered).first(head)));
    const crypto::AuthFrame frame{.context = entry.ah.get(),
                                  .data = covered.data(),
                                  .size = static_cast<std::uint32_t>(covered.size()),
                                  .icv = packet.data() + head + wire::kAhFixedSize};
    transforms_->engine().sign({&frame, 1});
    return packet;
  }

  void sealed(const Entry& entry, const Bytes& packet) {
    const Peeked peeked = look(entry, packet);
    const DecapRequest got = open(entry, packet, SeqNo(1));
    CHECK(got.authentic);
    if (got.drop) return;
    const auto ip = wire::parse_ip(got.inner);
    CHECK(ip && ip->total_size() == got.inner.size());
    if (peeked.kind == Peeked::Kind::kUndecidable) return;
    CHECK(peeked.source.address == ip->source() && peeked.destination.address == ip->destination());
    CHECK(peeked.protocol == ip->protocol() && !ip->is_fragment());
  }

  Peeked look(const Entry& entry, const Bytes& packet) {
    const PeekRequest request{.sa = entry.sa.get(),
                              .packet = packet,
                              .offset = static_cast<std::uint32_t>(offset_of(entry, packet)),
                              .source = entry.sa->remote(),
                              .destination = entry.sa->local()};
    Peeked peeked;
    transforms_->peek({&request, 1}, {&peeked, 1});
    return peeked;
  }

  DecapRequest open(const Entry& entry, const Bytes& packet, SeqNo seq) {
    work_ = packet;
    room_.assign(packet.size() + kRestoredHeader, 0);
    DecapRequest request;
    request.sa = entry.sa.get();
    request.seq = seq;
    request.data = work_.data();
    request.size = static_cast<std::uint32_t>(work_.size());
    request.offset = static_cast<std::uint32_t>(offset_of(entry, packet));
    request.source = entry.sa->remote();
    request.destination = entry.sa->local();
    if (decap_needs_out(*entry.sa, request.offset)) request.out = room_.data();
    transforms_->decap({&request, 1});
    return request;
  }

  SeededRng rng_{1};
  std::unique_ptr<Transforms> transforms_ =
      std::move(*Transforms::make(std::move(*crypto::make_engine(crypto::Backend::kBest)), rng_, 256));
  SaFactory factory_{1};
  std::vector<Entry> entries_;
  Bytes work_, room_;
};

}  // namespace
}  // namespace testudo::ipsec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static testudo::ipsec::Target target;
  if (size > 0) target.run(data[0], {data + 1, size - 1});
  return 0;
}
