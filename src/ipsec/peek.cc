// SPDX-License-Identifier: Apache-2.0
#include "ipsec/peek.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>

#include "base/check.h"
#include "ipsec/transforms.h"
#include "wire/ah.h"
#include "wire/esp.h"
#include "wire/ip.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace testudo::ipsec {
namespace {

/// IPv6 and TCP without options; in transport mode any header that is asked for.
constexpr std::size_t kFirstLook = crypto::kPeekStep;  // bytes
static_assert(kFirstLook % 16 == 0 && kFirstLook <= crypto::kPeekMax && crypto::kPeekMax % 16 == 0);
constexpr std::uint8_t kProtocolSctp = 132;

void take_ports(std::span<const std::uint8_t> text, Peeked& peeked) {
  const auto& ports = *reinterpret_cast<const wire::UdpHeader*>(text.data());
  peeked.source.port = ports.source_port.host();
  peeked.destination.port = ports.destination_port.host();
  peeked.has_ports = true;
}

// What the protocol's header says. False: it is not whole.
bool understand_transport(std::span<const std::uint8_t> text, Peeked& peeked) {
  switch (peeked.protocol) {
    case wire::kProtocolTcp:
      if (text.size() < wire::kTcpHeaderSize) return false;
      take_ports(text, peeked);
      peeked.tcp_flags = reinterpret_cast<const wire::TcpHeader*>(text.data())->flags;
      peeked.kind = Peeked::Kind::kTcp;
      return true;
    case wire::kProtocolUdp:
    case kProtocolSctp:
      if (text.size() < wire::kUdpHeaderSize) return false;
      take_ports(text, peeked);
      break;
    case wire::kProtocolIcmp:
    case wire::kProtocolIcmpv6:
      if (text.size() < 2) return false;
      peeked.icmp_type = text[0];
      peeked.icmp_code = text[1];
      break;
    default:
      break;
  }
  peeked.kind = Peeked::Kind::kOther;
  return true;
}

/// Sets `peeked`, or leaves it undecidable. True: more bytes of the text would help.
bool understand(std::span<const std::uint8_t> text, Peeked& peeked) {
  const auto [ip, needed] = wire::parse_ip_prefix(text);
  if (!ip) return needed > text.size();
  if (ip->is_fragment()) return false;
  Peeked seen;
  seen.protocol = ip->protocol();
  seen.source.address = ip->source();
  seen.destination.address = ip->destination();
  if (!understand_transport(ip->payload(), seen)) return ip->total_size() > text.size();
  peeked = seen;
  return false;
}

// What is behind these headers is not looked for: in transport mode they are the first thing that is encrypted.
bool hides_transport(std::uint8_t protocol) {
  switch (protocol) {
    case wire::kProtocolHopByHop:
    case wire::kProtocolRouting:
    case wire::kProtocolFragment:
    case wire::kProtocolDestinationOptions:
    case wire::kProtocolMobility:
    case wire::kProtocolNoNext:
    case wire::kProtocolIpip:
    case wire::kProtocolIpv6:
      return true;
    default:
      return false;
  }
}

/// In transport mode: the text behind AH or ESP, whose protocol is known by now.
void understand_bare(const PeekRequest& request, std::span<const std::uint8_t> text, std::uint8_t protocol,
                     Peeked& peeked) {
  Peeked seen;
  seen.protocol = protocol;
  seen.source.address = request.source;
  seen.destination.address = request.destination;
  if (!hides_transport(protocol) && understand_transport(text, seen)) peeked = seen;
}

/// The same behind ESP, from the beginning of a text of `size` bytes and from its end, where padding length and
/// next header are (RFC 4303 section 2.4).
void understand_bare(const PeekRequest& request, std::size_t size, std::span<const std::uint8_t> beginning,
                     std::span<const std::uint8_t> end, Peeked& peeked) {
  const std::size_t trailer = wire::kEspTrailerSize + end[end.size() - 2];
  if (trailer > size) return;
  understand_bare(request, beginning.first(std::min(beginning.size(), size - trailer)), end.back(), peeked);
}

/// The text of one packet, still protected.
struct Text {
  const std::uint8_t* esp = nullptr;  // null: nothing is encrypted
  std::span<const std::uint8_t> bytes;
  std::uint8_t next = 0;  // without ESP: what it is
};

// Nothing: this is no packet of the SA.
std::optional<Text> text_of(const PeekRequest& request) {
  const Shape& shape = request.sa->shape();
  if (request.offset > request.packet.size()) return std::nullopt;
  auto rest = request.packet.subspan(request.offset);
  Text text;
  if (shape.has_ah()) {
    if (rest.size() <= shape.ah) return std::nullopt;
    text.next = reinterpret_cast<const wire::AhHeader*>(rest.data())->next_header;
    rest = rest.subspan(shape.ah);
  }
  text.bytes = rest;
  if (!shape.has_esp()) return text;
  const std::size_t before = wire::kEspHeaderSize + shape.esp_iv;
  const std::size_t fixed = before + shape.esp_icv;
  if (rest.size() <= fixed || ((rest.size() - fixed) & (shape.esp_block - std::size_t{1})) != 0)
    return std::nullopt;
  text.esp = rest.data();
  text.bytes = rest.subspan(before, rest.size() - fixed);
  return text;
}

void understand_plain(const PeekRequest& request, const Text& text, Peeked& peeked) {
  if (!request.sa->transport()) {
    (void)understand(text.bytes, peeked);
  } else if (text.esp == nullptr) {
    understand_bare(request, text.bytes, text.next, peeked);
  } else {
    understand_bare(request, text.bytes.size(), text.bytes, text.bytes, peeked);
  }
}

}  // namespace

/// One burst of parts to be decrypted.
struct Transforms::Looks {
  std::array<crypto::PeekRequest, crypto::kBurstMax> jobs;
  std::array<std::array<std::uint8_t, crypto::kPeekMax>, crypto::kBurstMax> scratch;
  std::array<std::uint8_t, crypto::kBurstMax> asker;  // whoever wanted it
  std::size_t count = 0;

  void add(const crypto::CipherContext& context, const Text& text, std::size_t skip, std::size_t size,
           std::size_t from) {
    jobs[count] = {.context = &context,
                   .data = text.esp,
                   .size = static_cast<std::uint32_t>(std::min(text.bytes.size() - skip, size)),
                   .out = scratch[count].data(),
                   .skip = static_cast<std::uint32_t>(skip)};
    asker[count++] = static_cast<std::uint8_t>(from);
  }
  void run(crypto::Engine& engine) const { engine.peek(std::span(jobs).first(count)); }
  [[nodiscard]] std::span<const std::uint8_t> seen(std::size_t i) const {
    return {scratch[i].data(), jobs[i].size};
  }
};

// The beginnings.
void Transforms::look_first(std::span<const PeekRequest> requests, std::span<Peeked> peeked, Looks& first) {
  for (std::size_t i = 0; i < requests.size(); ++i) {
    peeked[i] = Peeked{};
    const auto text = text_of(requests[i]);
    if (!text) continue;
    Sa& sa = *requests[i].sa;
    if (!sa.encrypts()) {
      understand_plain(requests[i], *text, peeked[i]);
    } else {
      first.add(keys_->get_for_peek(sa.esp_key()), *text, 0, kFirstLook, i);
    }
  }
  first.run(*engine_);
}

// What the beginnings did not tell: in tunnel mode more of it, in transport mode the end, which names the protocol.
void Transforms::look_again(std::span<const PeekRequest> requests, std::span<Peeked> peeked, const Looks& first,
                            Looks& second) {
  for (std::size_t k = 0; k < first.count; ++k) {
    const std::size_t i = first.asker[k];
    const crypto::CipherContext& context = *first.jobs[k].context;
    if (!requests[i].sa->transport()) {
      if (understand(first.seen(k), peeked[i])) second.add(context, *text_of(requests[i]), 0, crypto::kPeekMax, k);
      continue;
    }
    const auto text = text_of(requests[i]);
    const std::size_t last = (text->bytes.size() - 1) / crypto::kPeekStep * crypto::kPeekStep;
    if (last == 0) {
      understand_bare(requests[i], text->bytes.size(), first.seen(k), first.seen(k), peeked[i]);
    } else {
      second.add(context, *text, last, crypto::kPeekStep, k);
    }
  }
  second.run(*engine_);
}

void Transforms::peek(std::span<const PeekRequest> requests, std::span<Peeked> peeked) {
  CHECK(requests.size() <= crypto::kBurstMax && peeked.size() >= requests.size());
  keys_->begin_burst();
  for (const PeekRequest& request : requests) request.sa->prefetch_peek();
  for (const PeekRequest& request : requests) prefetch_peek(*request.sa);
  Looks first;
  look_first(requests, peeked, first);
  Looks second;
  look_again(requests, peeked, first, second);
  for (std::size_t n = 0; n < second.count; ++n) {
    const std::size_t k = second.asker[n];
    const std::size_t i = first.asker[k];
    if (requests[i].sa->transport()) {
      understand_bare(requests[i], text_of(requests[i])->bytes.size(), first.seen(k), second.seen(n), peeked[i]);
    } else {
      (void)understand(second.seen(n), peeked[i]);
    }
  }
  keys_->end_peek();
}

}  // namespace testudo::ipsec
