// SPDX-License-Identifier: Apache-2.0
#include "sim/invariants.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/check.h"
#include "wire/esp.h"
#include "wire/ipv4.h"

namespace testudo::sim {
namespace {

constexpr std::size_t kTrailer = 2;       // pad length, next header
constexpr std::size_t kPaddingMost = 15;  // bytes

std::uint64_t inner_bytes_at_least(std::size_t esp, const crypto::SuiteSizes& sizes) {
  const std::size_t around = wire::kEspHeaderSize + sizes.iv + sizes.icv + kTrailer + kPaddingMost;
  return esp > around ? esp - around : 0;
}

}  // namespace

void Invariants::violated(const std::string& what) { violations_.push_back(what); }

void Invariants::outbound_sa(Spi spi, SaId id, crypto::Suite suite) {
  const auto [entry, fresh] = outbound_.try_emplace(spi);
  CHECK(fresh);  // the simulated client never gives an SPI twice
  entry->second.id = id;
  entry->second.suite = suite;
}

void Invariants::ceiling(SaId id, SeqNo last) {
  SeqNo& known = ceilings_[id];
  if (last < known) {
    violated(
        fmt::format("the ceiling of SA {:x} went down from {} to {}", id.value(), known.value(), last.value()));
  }
  known = std::max(known, last);
}

void Invariants::protected_sent(const std::string& node, std::span<const std::uint8_t> esp) {
  ++protected_packets_;
  const auto* header = wire::parse_esp(esp);
  if (header == nullptr) return violated(fmt::format("{} sent an ESP packet of {} bytes", node, esp.size()));
  const auto found = outbound_.find(header->spi());
  if (found == outbound_.end())
    return violated(fmt::format("{} sent on SPI {:#x}, which no owner has installed", node, header->spi().value()));
  OutboundSa& sa = found->second;
  const std::uint32_t seq = header->sequence_low();
  ++senders_[header->spi()][node];
  if (const auto [entry, fresh] = sa.sent.try_emplace(seq, node); !fresh) {
    violated(fmt::format("SPI {:#x} sequence number {} was sent twice: by {}, then by {}", header->spi().value(),
                         seq, entry->second, node));
  }
  if (const SeqNo ceiling = ceilings_[sa.id]; seq > ceiling.value()) {
    violated(fmt::format("{} sent SPI {:#x} sequence number {}, above the ceiling {} in the facility", node,
                         header->spi().value(), seq, ceiling.value()));
  }
  const std::size_t iv_size = crypto::sizes(sa.suite).iv;
  if (esp.size() < wire::kEspHeaderSize + iv_size) return violated(node + " sent an ESP packet without an IV");
  sa.bytes += inner_bytes_at_least(esp.size(), crypto::sizes(sa.suite));
  if (beyond(sa.bytes, sa.sent.size())) {
    violated(fmt::format("SPI {:#x} was sent on beyond its hard limit: {} packets, {} bytes, the last one by {}",
                         header->spi().value(), sa.sent.size(), sa.bytes, node));
  }
  const auto iv = esp.subspan(wire::kEspHeaderSize, iv_size);
  if (!sa.ivs.emplace(iv.begin(), iv.end()).second) {
    violated(
        fmt::format("{} used the IV {:02x} of SPI {:#x} again", node, fmt::join(iv, ""), header->spi().value()));
  }
}

void Invariants::clear_sent(const std::string& node, std::span<const std::uint8_t> packet) {
  const auto ip = wire::parse_ipv4(packet);
  if (!ip) return violated(node + " sent what is no IPv4 packet");
  if (clear_.contains(ip->source())) return;
  violated(fmt::format("{} sent a packet from {} to {} in the clear", node, ip->source().to_string(),
                       ip->destination().to_string()));
}

bool Invariants::beyond(std::uint64_t bytes, std::uint64_t packets) const {
  return (limits_.hard_bytes != 0 && bytes > limits_.hard_bytes) ||
         (limits_.hard_packets != 0 && packets > limits_.hard_packets);
}

// Replayed and forged packets age nothing: the nodes count no more than the peers have sent.
void Invariants::carried(const Carried& carried) {
  Counted& counted = counted_[carried.id];
  auto& [bytes, packets] = counted.lives[{carried.node, carried.life}];
  if (bytes == carried.bytes && packets == carried.packets) return;
  counted.bytes += carried.bytes - bytes;
  counted.packets += carried.packets - packets;
  bytes = carried.bytes;
  packets = carried.packets;
  if (beyond(counted.bytes, counted.packets)) {
    violated(fmt::format("SA {:x} was used beyond its hard limit: {} packets, {} bytes, the last one by {}",
                         carried.id.value(), counted.packets, counted.bytes, carried.node));
  }
  const auto out = outbound_.find(carried.spi);
  const std::uint64_t sent_out = out == outbound_.end() ? 0 : out->second.sent.size();
  const std::uint64_t sent = carried.outbound ? sent_out : inbound_[carried.spi].sent;
  if (counted.packets > sent) {
    violated(
        fmt::format("SA {:x} has aged by {} packets, and {} were sent", carried.id.value(), counted.packets, sent));
  }
}

void Invariants::client_sent(Spi spi, std::uint32_t packet_number) {
  ++inbound_[spi].sent;
  sent_by_[packet_number] = spi;
}

void Invariants::delivered(const std::string& node, std::uint32_t packet_number, std::size_t bytes) {
  if (const auto by = sent_by_.find(packet_number); by != sent_by_.end()) {
    InboundSa& sa = inbound_[by->second];
    sa.bytes += bytes;
    if (beyond(sa.bytes, ++sa.delivered)) {
      violated(fmt::format("SPI {:#x} brought more than its hard limit: {} packets, {} bytes, the last one to {}",
                           by->second.value(), sa.delivered, sa.bytes, node));
    }
  }
  const auto [entry, fresh] = delivered_.try_emplace(packet_number, node);
  if (fresh) return;
  violated(fmt::format("packet {} of the client was delivered twice: at {}, then at {}", packet_number,
                       entry->second, node));
}

void Invariants::owners(IpAddress dvipa, const std::vector<std::string>& nodes) {
  if (nodes.size() < 2) return;
  violated(fmt::format("{} has {} owners: {}", dvipa.to_string(), nodes.size(), fmt::join(nodes, ", ")));
}

}  // namespace testudo::sim
