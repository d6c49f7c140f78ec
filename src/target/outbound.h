// SPDX-License-Identifier: Apache-2.0
// Outbound: what a host's applications send from a DVIPA (spec E1–E4, seed blocks 160–168). Packets come from the
// TUN, up to 64 KiB at once. The filter says what becomes of each; a protected one gets sequence numbers from the
// lessee, is cut, encrypted straight into its place in a train, and leaves for the network. Where no number is at
// hand it waits, bounded, in order; it never leaves in the clear, and never with a number whose lease has run out.
// What is too large for the path of its SA is cut into IP fragments first, where its sender allows that, or its
// sender is told (RFC 4301 section 8.2). A protected packet of a tunnel of which this host never had an SA (the
// seed's note 2: an owner that is a gateway under another address) goes to the owner of its DVIPA over XCF, which
// protects it.
//
//   Outbound outbound(config, {transforms, sad, lessee, drops, sink});
//   outbound.set_filters(table);
//   outbound.process(burst, now);
//   outbound.retry(now);               // after the lessee got grants
//   outbound.tick(now);                // at the latest at next_timer()
//
// Thread: one worker. Nothing allocates but sa_installed().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/drop.h"
#include "base/time.h"
#include "distributor/distribution.h"
#include "distributor/reassembler.h"
#include "ipsec/sad.h"
#include "ipsec/transforms.h"
#include "policy/filter_table.h"
#include "policy/flow_cache.h"
#include "sequence/lessee.h"
#include "target/hold_pool.h"
#include "target/segmenter.h"
#include "wire/icmp.h"
#include "wire/packet.h"

namespace testudo::target {

/// Where packets leave. The worker implements it.
class OutboundSink {
 public:
  /// The time now, read anew: the last look at a lease's deadline before the send call.
  [[nodiscard]] virtual Time now() = 0;
  /// Packets of one SA: whole outer IP packets, or what is in UDP from the SA's local port.
  virtual void send_protected(const ipsec::Sa& sa, std::span<const wire::Outgoing> train) = 0;
  /// Whole IP packets that a filter permits in the clear.
  virtual void send_clear(std::span<const wire::Outgoing> packets) = 0;
  /// XCF data for another member, in GRE.
  virtual void send_xcf(std::span<const wire::Outgoing> packets) = 0;
  /// Whole IP packets for this host's applications: ICMP errors.
  virtual void deliver(std::span<const wire::Outgoing> packets) = 0;

 protected:
  ~OutboundSink() = default;
};

struct OutboundConfig {
  std::uint32_t hold_packets = 256;
  Duration hold_time = 1s;
  std::uint32_t network_mtu = 1500;  // bytes of a whole outer packet
  Duration path_mtu_time = 10min;    // then a larger one is tried again (RFC 1191 section 6.3)
  distributor::ReassemblerConfig reassembler = {};
};

struct OutboundCounters {
  Counter encrypted_packets, encrypted_bytes;  // bytes of inner packets
  Counter trains;                              // send calls for protected packets
  Counter clear_packets;
  Counter held;          // super-segments that had to wait for numbers
  Counter fragmented;    // packets that were cut into IP fragments
  Counter reassembled;   // packets that came in fragments
  Counter too_big_told;  // ICMP errors to senders on this host
  Counter via_owner;     // packets that the owner was asked to protect
};

class Outbound {
 public:
  struct Parts {
    ipsec::Transforms& transforms;
    ipsec::Sad& sad;
    sequence::Lessee& lessee;
    DropCounters& drops;
    OutboundSink& sink;
    policy::FlowCache* flows = nullptr;  // null: the filters are asked about each packet
  };

  Outbound(const OutboundConfig& config, Parts parts);

  /// Both must live until the next call. Before the first filters, everything is dropped.
  void set_filters(const policy::FilterTable* table) { filters_ = table; }
  void set_distribution(const distributor::Distribution* distribution) { distribution_ = distribution; }
  /// Makes room for the SA's tunnel, and lets what waits for the tunnel go on with the new SA.
  void sa_installed(const ipsec::Sa& sa, Time now);
  /// Outer packets to the SA's peer must not be larger than `mtu` bytes. Kept for all SAs of its tunnel; larger
  /// values than what is known, or than the network's, change nothing. False: no news, which another host need not
  /// hear.
  bool set_path_mtu(SaId sa, std::uint16_t mtu, Time now);

  void process(std::span<const wire::Packet> burst, Time now);
  /// Sends what waits for SAs that the lessee has numbers for.
  void retry(Time now);
  void tick(Time now);
  [[nodiscard]] Time next_timer() const;

  [[nodiscard]] const OutboundCounters& counters() const { return counters_; }

 private:
  static constexpr std::size_t kSlot =
      2048;  // bytes of the train's memory per packet: any ESP packet of an Ethernet MTU

  /// What is known of one tunnel: packets that wait for its numbers, how many segments they are, and its path.
  struct Queue {
    HoldPool::List packets;
    std::uint32_t segments = 0;
    SaId asked;                  // whose numbers the lessee was asked for
    bool known = false;          // it has had an SA
    std::uint16_t path_mtu = 0;  // bytes; 0: not known to be smaller than the network's
    Time path_mtu_since{};
  };
  /// What is sent in one call: neighbours in the burst that are of one SA, numbers in order.
  struct Train {
    ipsec::Sa* sa = nullptr;
    std::size_t first = 0;    // of requests_
    Time stop = Time::max();  // earliest deadline of its leases
    SeqNo last;
  };

  void drop(Drop reason, std::uint64_t n = 1) { parts_.drops.count(reason, n); }
  void process_one(const wire::Packet& packet, Time now);
  void process_fragment(const wire::IpView& fragment, Time now);
  void process_whole(const wire::Packet& packet, const wire::IpView& ip, bool may_cut, Time now);
  [[nodiscard]] policy::Decision decide(const wire::IpView& ip, const policy::Flow& flow, Time now);
  void protect(ipsec::TunnelId tunnel, const wire::Packet& packet, const wire::IpView& ip, bool may_cut, Time now);
  Held* hold(ipsec::TunnelId tunnel, const ipsec::Sa& sa, const wire::Packet& packet, std::uint32_t left, Time now);
  [[nodiscard]] std::optional<Drop> why_not(const ipsec::Sa* sa, const Segmenter& cut, Time now) const;
  std::uint32_t transmit(ipsec::Sa& sa, const Segmenter& cut, std::uint32_t from, std::uint32_t want, Time now);
  void add(ipsec::Sa& sa, const Segmenter& cut, std::uint32_t index);
  void flush();
  void send(const Train& train, std::span<const ipsec::EncapRequest> requests);
  std::size_t keep_what_may_be_carried(ipsec::Sa& sa, std::span<const ipsec::EncapRequest> requests);
  void fill(const ipsec::Sa& sa, const ipsec::EncapRequest& request, wire::Outgoing& out);
  void drain(ipsec::TunnelId tunnel, Time now);
  void pop(Queue& queue, std::uint32_t segments_left);
  void expire(std::size_t tunnel, Time now);

  // outbound_plain.cc: packets that are not protected here
  [[nodiscard]] std::size_t inner_max(const ipsec::Sa& sa, const wire::IpView& ip, Time now) const;
  void too_big(const wire::IpView& ip, std::size_t mtu);
  void send_clear(const wire::Packet& packet, const wire::IpView& ip, bool may_cut);
  [[nodiscard]] bool via_owner(const wire::Packet& packet, const wire::IpView& ip);
  [[nodiscard]] std::size_t lay_out(const Segmenter& cut, std::uint32_t& index);

  OutboundConfig config_;
  Parts parts_;
  const distributor::Distribution* distribution_ = nullptr;
  const policy::FilterTable* filters_ = nullptr;
  distributor::Reassembler reassembler_;
  HoldPool pool_;
  std::vector<Queue> queues_;        // by TunnelId
  std::size_t waiting_tunnels_ = 0;  // queues that are not empty
  std::uint32_t next_ip_id_ = 0;
  std::array<Train, wire::kBurst> trains_;
  std::size_t trains_count_ = 0;
  std::size_t requests_count_ = 0;
  std::size_t used_ = 0;       // bytes of memory_
  SaId numbers_sa_;            // whose numbers these are
  sequence::Numbers numbers_;  // taken from the lessee, not yet given to a packet
  std::unique_ptr<std::uint8_t[]> memory_;
  std::array<ipsec::EncapRequest, wire::kBurst> requests_;
  std::array<SegmentHeader, wire::kBurst> headers_;
  std::array<wire::Outgoing, wire::kBurst> outgoing_;
  OutboundCounters counters_;
};

}  // namespace testudo::target
