// SPDX-License-Identifier: Apache-2.0
// The ICV of AH (RFC 4302 sections 3.3.3 and 3.4.4). It is computed in place, over a packet in which mutable
// fields, IV and ICV are zero; what was there is set aside meanwhile.
#include <array>
#include <bit>
#include <cstring>

#include "ipsec/ah.h"
#include "ipsec/transforms.h"
#include "wire/ah.h"

namespace testudo::ipsec {

// Sets aside, zeroes, and describes the packet for the engine.
std::optional<Drop> Transforms::set_aside(Sa& sa, std::uint8_t* packet, std::size_t size, std::size_t head,
                                          SeqNo seq, std::size_t index, crypto::AuthFrame& frame) {
  Saved& saved = saved_[index];
  const Shape& shape = sa.shape();
  if (head > saved.head.size()) return Drop::kUnsupported;
  std::memcpy(saved.head.data(), packet, head);
  if (const auto drop = zero_mutable({packet, head})) {
    std::memcpy(packet, saved.head.data(), head);
    return drop;
  }
  std::uint8_t* iv = packet + head + wire::kAhFixedSize;
  std::memcpy(saved.iv.data(), iv, shape.ah_iv);
  std::memcpy(saved.icv.data(), iv + shape.ah_iv, shape.ah_icv);
  std::memset(iv, 0, std::size_t{shape.ah_iv} + shape.ah_icv);
  frame = {.context = &keys_->get(sa.key_),
           .data = packet,
           .size = static_cast<std::uint32_t>(size),
           .sequence_high = static_cast<std::uint32_t>(seq.value() >> 32),
           .iv = saved.iv.data(),
           .icv = saved.icv.data()};
  return std::nullopt;
}

void Transforms::put_back(std::uint8_t* packet, std::size_t head, std::size_t index) const {
  std::memcpy(packet, saved_[index].head.data(), head);
}

namespace {

// With ESN, the engine writes behind a packet for a moment: not into another one of the same call.
bool touches(const crypto::AuthFrame& a, const crypto::AuthFrame& b) {
  const auto end = [](const crypto::AuthFrame& f) {
    return f.data + f.size + (f.context->esn() ? kEsnTailroom : 0);
  };
  return a.data < end(b) && b.data < end(a);
}

}  // namespace

// Packets of a train lie side by side: every second one goes in one call, then the others.
template <typename F>
void Transforms::run_apart(std::span<const crypto::AuthFrame> frames, F run) {
  std::array<crypto::AuthFrame, crypto::kBurstMax> group;
  std::array<std::uint8_t, crypto::kBurstMax> index;
  const std::size_t total = frames.size();
  std::uint64_t left = total == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << total) - 1;
  while (left != 0) {
    std::size_t n = 0;
    for (std::uint64_t rest = left; rest != 0; rest &= rest - 1) {
      const auto i = static_cast<std::size_t>(std::countr_zero(rest));
      bool apart = true;
      for (std::size_t k = 0; k < n && apart; ++k)
        apart = !frames[i].context->esn() || !touches(group[k], frames[i]);
      if (!apart) continue;
      group[n] = frames[i];
      index[n++] = static_cast<std::uint8_t>(i);
      left &= ~(std::uint64_t{1} << i);
    }
    run(std::span<const crypto::AuthFrame>(group).first(n), std::span<const std::uint8_t>(index).first(n));
  }
}

void Transforms::sign(std::span<EncapRequest> burst, std::uint64_t members) {
  std::array<std::uint8_t, crypto::kBurstMax> request_of;
  std::size_t n = 0;
  for (; members != 0; members &= members - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(members));
    EncapRequest& request = burst[i];
    request.drop = set_aside(*request.sa, request.out, request.size, head_[i], request.seq, i, auth_frames_[n]);
    if (!request.drop) request_of[n++] = static_cast<std::uint8_t>(i);
  }
  run_apart(std::span(auth_frames_).first(n), [this](auto group, auto) { engine_->sign(group); });
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t i = request_of[k];
    const Shape& shape = burst[i].sa->shape();
    put_back(burst[i].out, head_[i], i);
    std::uint8_t* iv = burst[i].out + head_[i] + wire::kAhFixedSize;
    std::memcpy(iv, saved_[i].iv.data(), shape.ah_iv);
    std::memcpy(iv + shape.ah_iv, saved_[i].icv.data(), shape.ah_icv);
  }
}

std::uint64_t Transforms::verify(std::span<DecapRequest> burst, std::uint64_t members) {
  std::array<std::uint8_t, crypto::kBurstMax> request_of;
  std::size_t n = 0;
  for (; members != 0; members &= members - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(members));
    DecapRequest& request = burst[i];
    std::uint8_t* packet = request.out != nullptr ? request.out : request.data;
    request.drop = set_aside(*request.sa, packet, request.size, request.offset, request.seq, i, auth_frames_[n]);
    if (!request.drop) request_of[n++] = static_cast<std::uint8_t>(i);
  }
  std::uint64_t good = 0;
  run_apart(std::span(auth_frames_).first(n), [&](auto group, auto index) {
    const std::uint64_t verified = engine_->verify(group);
    for (std::size_t k = 0; k < group.size(); ++k) {
      good |= (verified >> k & 1) << request_of[index[k]];
    }
  });
  for (std::size_t k = 0; k < n; ++k) {
    const std::size_t i = request_of[k];
    put_back(burst[i].out != nullptr ? burst[i].out : burst[i].data, burst[i].offset, i);
    if ((good >> i & 1) == 0) burst[i].drop = Drop::kBadIcv;
  }
  return good;
}

}  // namespace testudo::ipsec
