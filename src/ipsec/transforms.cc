// SPDX-License-Identifier: Apache-2.0
#include "ipsec/transforms.h"

#include <utility>

#include "base/check.h"
#include "wire/ip.h"

namespace testudo::ipsec {

std::size_t encap_size_transport(const Sa& sa, std::span<const std::uint8_t> header, std::size_t size) {
  const auto ip = wire::parse_ip_prefix(header).view;
  const std::size_t head = ip ? ip->protect_offset() : 0;  // encapsulation will refuse what is no packet
  return (sa.udp_encapsulation() ? 0 : head) + protected_size(sa.shape(), size - head);
}

std::size_t inner_size_max(const Sa& sa, std::size_t mtu, std::size_t head) {
  if (head == 0 || !sa.transport()) head = wire::ip_header_size(sa.local());
  if (sa.udp_encapsulation()) mtu = mtu > wire::kUdpHeaderSize ? mtu - wire::kUdpHeaderSize : 0;
  const std::size_t text = mtu > head ? text_max(sa.shape(), mtu - head) : 0;
  return sa.transport() && text != 0 ? head + text : text;
}

Transforms::Transforms(std::unique_ptr<crypto::Engine> engine, Rng& rng, std::unique_ptr<crypto::ContextCache> keys)
    : engine_(std::move(engine)), keys_(std::move(keys)), random_(rng) {}

Result<std::unique_ptr<Transforms>> Transforms::make(std::unique_ptr<crypto::Engine> engine, Rng& rng,
                                                     std::size_t expanded_keys) {
  CHECK(engine != nullptr);
  auto keys = crypto::make_context_cache(*engine, expanded_keys);
  if (!keys) return tl::unexpected(keys.error());
  return std::unique_ptr<Transforms>(new Transforms(std::move(engine), rng, std::move(*keys)));
}

void Transforms::forget(const Sa& sa) {
  keys_->forget(sa.key_);
  if (sa.inner_) keys_->forget(sa.inner_->key);
}

}  // namespace testudo::ipsec
