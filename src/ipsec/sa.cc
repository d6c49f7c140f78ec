// SPDX-License-Identifier: Apache-2.0
#include "ipsec/sa.h"

#include <fmt/format.h>

#include <utility>

#include "base/check.h"

namespace testudo::ipsec {
namespace {

Result<void> validate(const SaParameters& p) {
  if (p.id == SaId()) return fail("an SA without id: ids begin with 1");
  if (p.spi.value() < 256)
    return fail(fmt::format("SPI {} is reserved: 256 is the smallest (RFC 4303)", p.spi.value()));
  if (p.local.is_unspecified() || p.remote.is_unspecified()) {
    return fail("an SA without both tunnel addresses: local and remote are the outer header's");
  }
  if (p.tunnel.empty()) return fail("an SA without tunnel name: filters could not refer to it");
  if (p.replay_window < kReplayWindowMin || p.replay_window > kReplayWindowMax) {
    return fail(fmt::format("a replay window of {} packets: {} to {} can be had", p.replay_window, kReplayWindowMin,
                            kReplayWindowMax));
  }
  return {};
}

}  // namespace

SeqNo Sa::full_sequence(std::uint32_t low) const {
  return parameters_.esn ? infer_sequence(replay_->newest(), replay_->size(), low) : SeqNo(low);
}

bool Sa::next_iv(std::span<std::uint8_t> out) {
  CHECK(out.size() == crypto::sizes(parameters_.suite).iv);
  if (iv_counter_) return iv_counter_->next(out.first<8>());
  if (iv_stream_) iv_stream_->fill(out);
  return true;
}

void Sa::count(std::uint64_t inner_bytes) {
  totals_.bytes.add(inner_bytes);
  totals_.packets.add();
}

Lifesize Sa::unreported() const {
  return {.bytes = totals_.bytes.value() - reported_.bytes, .packets = totals_.packets.value() - reported_.packets};
}

Lifesize Sa::take_unreported() {
  const Lifesize taken = unreported();
  reported_.bytes += taken.bytes;
  reported_.packets += taken.packets;
  return taken;
}

SaFactory::SaFactory(std::unique_ptr<crypto::Engine> engine, std::uint32_t incarnation, Rng& rng)
    : engine_(std::move(engine)), ivs_(incarnation), rng_(rng) {
  CHECK(engine_ != nullptr);
}

Result<std::unique_ptr<Sa>> SaFactory::create(SaParameters parameters) {
  if (const Result<void> valid = validate(parameters); !valid) return tl::unexpected(valid.error());
  const Secret key = std::exchange(parameters.key, Secret());
  auto cipher = engine_->make_context(parameters.suite, key, parameters.esn ? crypto::Esn::kYes : crypto::Esn::kNo);
  if (!cipher) return tl::unexpected(cipher.error());

  auto sa = std::unique_ptr<Sa>(new Sa(std::move(parameters)));
  sa->cipher_ = std::move(*cipher);
  sa->tunnel_ = tunnels_.intern(sa->parameters_.tunnel);
  if (sa->inbound()) {
    sa->replay_.emplace(sa->parameters_.replay_window);
  } else if (crypto::needs_unique_iv(sa->parameters_.suite)) {
    sa->iv_counter_ = ivs_.counter_of(sa->id());
  } else if (crypto::needs_random_iv(sa->parameters_.suite)) {
    sa->iv_stream_.emplace(rng_);
  }
  return sa;
}

}  // namespace testudo::ipsec
