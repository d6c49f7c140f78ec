// SPDX-License-Identifier: Apache-2.0
#include "ipsec/sa.h"

#include <sanitizer/asan_interface.h>

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include "base/check.h"
#include "wire/ah.h"

namespace testudo::ipsec {
namespace {

class SaMemory {
 public:
  static SaMemory& instance() {
    static auto* const memory = new SaMemory;  // never destroyed: nor may SAs be, at the end of the program
    return *memory;
  }

  void* take() {
    const std::lock_guard lock(mutex_);
    if (free_ == nullptr) grow();
    Free* const taken = free_;
    ASAN_UNPOISON_MEMORY_REGION(taken, sizeof(Sa));
    free_ = taken->next;
    return taken;
  }

  void give_back(void* memory) {
    const std::lock_guard lock(mutex_);
    put(memory);
  }

 private:
  struct Free {
    Free* next;
  };
  static constexpr std::size_t kBlock = 256;  // SAs: 64 KiB

  void grow() {
    blocks_.push_back(::operator new(kBlock * sizeof(Sa), std::align_val_t(alignof(Sa))));
    auto* const bytes = static_cast<std::byte*>(blocks_.back());
    for (std::size_t i = kBlock; i > 0; --i) put(bytes + (i - 1) * sizeof(Sa));  // the first one is taken first
  }
  void put(void* memory) {
    free_ = new (memory) Free{free_};
    ASAN_POISON_MEMORY_REGION(memory, sizeof(Sa));
  }

  std::mutex mutex_;
  Free* free_ = nullptr;
  std::vector<void*> blocks_;
};

}  // namespace

void* Sa::operator new(std::size_t size) {
  CHECK(size == sizeof(Sa));
  return SaMemory::instance().take();
}

void Sa::operator delete(void* memory) {
  if (memory != nullptr) SaMemory::instance().give_back(memory);
}

namespace {

Result<void> check_spi(Spi spi) {
  if (spi.value() >= 256) return {};
  return fail(fmt::format("SPI {} is reserved: 256 is the smallest (RFC 4303)", spi.value()));
}

Result<void> check_addresses(const SaParameters& p) {
  if (p.local.is_unspecified() || p.remote.is_unspecified()) {
    return fail("an SA without both tunnel addresses: local and remote are the outer header's");
  }
  if (p.local.is_v4() != p.remote.is_v4()) {
    return fail(fmt::format("an SA between {} and {}: one outer header cannot have both", p.local.to_string(),
                            p.remote.to_string()));
  }
  return {};
}

Result<void> check_suite(crypto::Suite suite, std::size_t key_size, bool ah) {
  if (const auto key = crypto::check_key(suite, key_size); !key) return key;
  if (crypto::is_ah(suite) == ah) return {};
  return fail(fmt::format("{} is no suite of {}", crypto::sizes(suite).name, ah ? "AH" : "ESP"));
}

Result<void> check_inner(const SaParameters& p) {
  if (!p.inner_esp) return {};
  if (p.protocol != Protocol::kAh) return fail("an inner ESP header is only for an SA of protocol AH");
  if (p.esn) return fail("extended sequence numbers cannot be had for AH over ESP in one SA");
  if (const auto spi = check_spi(p.inner_esp->spi); !spi) return spi;
  return check_suite(p.inner_esp->suite, p.inner_esp->key.size(), false);
}

Result<void> check_window(const SaParameters& p) {
  if (p.replay_window >= kReplayWindowMin && p.replay_window <= kReplayWindowMax) return {};
  return fail(fmt::format("a replay window of {} packets: {} to {} can be had", p.replay_window, kReplayWindowMin,
                          kReplayWindowMax));
}

Result<void> validate(const SaParameters& p) {
  if (p.id == SaId()) return fail("an SA without id: ids begin with 1");
  if (const auto spi = check_spi(p.spi); !spi) return spi;
  if (const auto addresses = check_addresses(p); !addresses) return addresses;
  if (p.tunnel.empty()) return fail("an SA without tunnel name: filters could not refer to it");
  if (const auto window = check_window(p); !window) return window;
  const bool ah = p.protocol == Protocol::kAh;
  if (ah && p.udp_encapsulation) return fail("UDP encapsulation is for ESP only (RFC 3948)");
  if (const auto suite = check_suite(p.suite, p.key.size(), ah); !suite) return suite;
  return check_inner(p);
}

// RFC 4302 section 3.3.3.2.1: a multiple of 4 bytes in IPv4, of 8 in IPv6.
std::uint8_t ah_size(const crypto::SuiteSizes& sizes, bool v4) {
  const std::size_t unit = v4 ? 4 : 8;
  return static_cast<std::uint8_t>((wire::kAhFixedSize + sizes.iv + sizes.icv + unit - 1) / unit * unit);
}

Shape shape_of(const SaParameters& p) {
  Shape shape;
  if (p.protocol == Protocol::kAh) {
    const crypto::SuiteSizes& ah = crypto::sizes(p.suite);
    shape.ah = ah_size(ah, p.local.is_v4());
    shape.ah_iv = static_cast<std::uint8_t>(ah.iv);
    shape.ah_icv = static_cast<std::uint8_t>(ah.icv);
    if (!p.inner_esp) return shape;
  }
  const crypto::SuiteSizes& esp = crypto::sizes(p.inner_esp ? p.inner_esp->suite : p.suite);
  shape.esp_iv = static_cast<std::uint8_t>(esp.iv);
  shape.esp_icv = static_cast<std::uint8_t>(esp.icv);
  shape.esp_block = static_cast<std::uint8_t>(esp.block);
  return shape;
}

}  // namespace

Sa::Sa(const SaParameters& p, TunnelId tunnel, crypto::CipherKey key, std::unique_ptr<Inner> inner)
    : remote_(p.remote),
      local_(p.local),
      id_(p.id),
      spi_(p.spi),
      tunnel_(tunnel),
      inner_(std::move(inner)),
      protocol_(p.protocol),
      outbound_(p.direction == Direction::kOutbound),
      transport_(p.mode == Mode::kTransport),
      esn_(p.esn),
      udp_encapsulation_(p.udp_encapsulation),
      copy_dscp_(p.copy_dscp),
      limited_(p.limits.hard_bytes != 0 || p.limits.hard_packets != 0),
      dont_fragment_(static_cast<std::uint8_t>(p.dont_fragment) & 3),
      shape_(shape_of(p)),
      replay_(p.direction == Direction::kInbound ? ReplayWindow(p.replay_window)
                                                 : ReplayWindow::only_size(p.replay_window)),
      key_(std::move(key)),
      local_port_(p.local_port),
      remote_port_(p.remote_port),
      reqid_(p.reqid),
      limits_(p.limits) {
  allow({.bytes = p.limits.hard_bytes, .packets = p.limits.hard_packets});
}

SaParameters Sa::parameters() const {
  SaParameters p;
  p.id = id_;
  p.direction = inbound() ? Direction::kInbound : Direction::kOutbound;
  p.protocol = protocol_;
  p.mode = transport_ ? Mode::kTransport : Mode::kTunnel;
  p.spi = spi_;
  p.local = local_;
  p.remote = remote_;
  p.udp_encapsulation = udp_encapsulation_;
  p.local_port = local_port_;
  p.remote_port = remote_port_;
  p.reqid = reqid_;
  p.suite = suite();
  p.replay_window = replay_window();
  p.esn = esn_;
  if (inner_) p.inner_esp = InnerEsp{.spi = inner_->spi, .suite = inner_->key.suite(), .key = Secret()};
  p.dont_fragment = dont_fragment();
  p.copy_dscp = copy_dscp_;
  p.limits = limits_;
  return p;
}

void Sa::allow(const Lifesize& most) {
  const bool bytes = limits_.hard_bytes != 0;
  const bool packets = limits_.hard_packets != 0;
  allowed_packets_.store(packets ? most.packets : kUnlimited, std::memory_order_relaxed);
  allowed_bytes_.store(bytes ? std::min(most.bytes, kUnlimited) : kUnlimited, std::memory_order_relaxed);
}

bool Sa::within(std::uint64_t inner_bytes) {
  const std::uint64_t bytes = allowed_bytes_.load(std::memory_order_relaxed);
  const bool fits = totals_.bytes.value() + inner_bytes <= (bytes & ~kRefused) &&
                    totals_.packets.value() < allowed_packets_.load(std::memory_order_relaxed);
  if (!fits && (bytes & kRefused) == 0) allowed_bytes_.fetch_or(kRefused, std::memory_order_relaxed);
  return fits;
}

void Sa::set_remote_endpoint(Endpoint remote) {
  CHECK(udp_encapsulation_ && remote.address.is_v4() == local_.is_v4());
  remote_ = remote.address;
  remote_port_ = remote.port;
}

void Sa::set_path(const Path& path) {
  CHECK(path.remote.address.is_v4() == local_.is_v4() && (protocol_ == Protocol::kEsp || !path.udp_encapsulation));
  remote_ = path.remote.address;
  remote_port_ = path.remote.port;
  local_port_ = path.local_port;
  udp_encapsulation_ = path.udp_encapsulation;
}

Result<std::unique_ptr<Sa>> SaFactory::create(SaParameters p) {
  if (const Result<void> valid = validate(p); !valid) return tl::unexpected(valid.error());
  const crypto::Esn esn = p.esn ? crypto::Esn::kYes : crypto::Esn::kNo;
  auto key = crypto::CipherKey::make(p.suite, std::move(p.key), esn);
  if (!key) return tl::unexpected(key.error());
  std::unique_ptr<Sa::Inner> inner;
  if (p.inner_esp) {
    auto inner_key = crypto::CipherKey::make(p.inner_esp->suite, std::move(p.inner_esp->key), crypto::Esn::kNo);
    if (!inner_key) return tl::unexpected(inner_key.error());
    inner.reset(new Sa::Inner{.spi = p.inner_esp->spi, .key = std::move(*inner_key)});
  }
  std::unique_ptr<Sa> sa(new Sa(p, tunnels_.intern(p.tunnel), std::move(*key), std::move(inner)));
  const bool unique_ivs =
      crypto::needs_unique_iv(p.suite) || (p.inner_esp && crypto::needs_unique_iv(p.inner_esp->suite));
  if (!sa->inbound() && unique_ivs) sa->iv_counter_ = ivs_.counter_of(sa->id());
  return sa;
}

}  // namespace testudo::ipsec
