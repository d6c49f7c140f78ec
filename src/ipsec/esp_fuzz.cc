// SPDX-License-Identifier: Apache-2.0
// Inbound ESP under a key that is right. Input: one byte (suite, and which of the two below), then
//   raw      an ESP packet as it may come from the network: nothing of it is ever authentic;
//   sealed   a text, which is put under the right key: padding, next header and inner packet as a peer may send
//   them.
// Either way the peek reads the same bytes first, and what it says agrees with what decapsulation finds.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "ipsec/esp.h"
#include "ipsec/peek.h"
#include "wire/ipv4.h"

namespace testudo::ipsec {
namespace {

class Target {
 public:
  Target() {
    for (std::size_t i = 0; i < sas_.size(); ++i) {
      SaParameters p;
      p.id = SaId(i + 1);
      p.spi = kSpi;
      p.local = IpAddress(0xc0000264);
      p.remote = IpAddress(0xc0000201);
      p.tunnel = "fuzz";
      p.suite = kSuites[i];
      p.key = Secret(crypto::sizes(p.suite).key);
      auto sa = factory_.create(std::move(p));
      CHECK(sa.has_value());
      sas_[i] = std::move(*sa);
    }
  }

  void run(std::uint8_t choice, std::span<const std::uint8_t> input) {
    Sa& sa = *sas_[choice % sas_.size()];
    if ((choice & 0x80) == 0) return raw(sa, input);
    const std::size_t block = crypto::sizes(sa.parameters().suite).block;
    const std::size_t usable = input.size() / block * block;
    if (usable > 0 && usable <= 2000) sealed(sa, input.first(usable));
  }

 private:
  static constexpr Spi kSpi{0x11223344};
  static constexpr std::array kSuites = {crypto::Suite::kAesGcm128Icv16, crypto::Suite::kAesGcm256Icv16,
                                         crypto::Suite::kAesCbc128HmacSha256, crypto::Suite::kAesCbc256HmacSha256};

  void raw(Sa& sa, std::span<const std::uint8_t> input) {
    std::vector<std::uint8_t> esp(input.begin(), input.end());  // exact, for the sanitizer
    (void)look(sa, esp);
    if (wire::parse_esp(esp) == nullptr) return;
    CHECK(!open(sa, esp, SeqNo(wire::parse_esp(esp)->sequence_low())).authentic);
  }

  void sealed(Sa& sa, std::span<const std::uint8_t> text) {
    const crypto::SuiteSizes& sizes = crypto::sizes(sa.parameters().suite);
    std::vector<std::uint8_t> esp(wire::kEspHeaderSize + sizes.iv + text.size() + sizes.icv);
    wire::EspHeader header;
    header.spi_be = Be<std::uint32_t>(kSpi.value());
    header.sequence_be = Be<std::uint32_t>(1);
    std::memcpy(esp.data(), &header, sizeof header);
    std::ranges::copy(text, esp.begin() + static_cast<std::ptrdiff_t>(wire::kEspHeaderSize + sizes.iv));
    const crypto::Frame frame{&sa.cipher(), esp.data(), static_cast<std::uint32_t>(esp.size()), 0};
    engine_->seal({&frame, 1});

    const Peeked peeked = look(sa, esp);
    const DecapRequest got = open(sa, esp, SeqNo(1));
    CHECK(got.authentic);
    if (got.drop) return;
    CHECK(got.inner.data() == esp.data() + wire::kEspHeaderSize + sizes.iv);
    CHECK(std::equal(got.inner.begin(), got.inner.end(), text.begin()));
    const auto ip = wire::parse_ipv4(got.inner);
    CHECK(ip && ip->total_size() == got.inner.size());
    if (peeked.kind == Peeked::Kind::kUndecidable) return;
    CHECK(peeked.source.address == ip->source() && peeked.destination.address == ip->destination());
    CHECK(peeked.protocol == ip->protocol() && !ip->is_fragment());
  }

  Peeked look(const Sa& sa, std::span<const std::uint8_t> esp) {
    const PeekRequest request{&sa, esp};
    Peeked peeked;
    peek(*engine_, {&request, 1}, {&peeked, 1});
    return peeked;
  }

  DecapRequest open(Sa& sa, std::vector<std::uint8_t>& esp, SeqNo seq) {
    DecapRequest request;
    request.sa = &sa;
    request.seq = seq;
    request.data = esp.data();
    request.size = static_cast<std::uint32_t>(esp.size());
    decap(*engine_, {&request, 1});
    return request;
  }

  SeededRng rng_{1};
  std::unique_ptr<crypto::Engine> engine_ = std::move(*crypto::make_engine(crypto::Backend::kBest));
  SaFactory factory_{std::move(*crypto::make_engine(crypto::Backend::kBest)), 1, rng_};
  std::array<std::unique_ptr<Sa>, kSuites.size()> sas_;
};

}  // namespace
}  // namespace testudo::ipsec

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static testudo::ipsec::Target target;
  if (size > 0) target.run(data[0], {data + 1, size - 1});
  return 0;
}
