// SPDX-License-Identifier: Apache-2.0
// The worker's loop: ports → stages → ports.
#include "path/worker.h"

#include <algorithm>
#include <utility>

namespace testudo::path {
namespace {

constexpr std::size_t kCutSlot = 9216;  // bytes of one segment: a jumbo frame

/// By another SA, or from another target, than what was forwarded before it.
bool is_answered(const distributor::Verdict& forwarded, const distributor::Verdict* before) {
  return forwarded.tunnel != ipsec::TunnelId() &&
         (before == nullptr || before->target != forwarded.target || before->tunnel != forwarded.tunnel);
}

}  // namespace

Worker::Worker(const WorkerConfig& config, WorkerPorts ports, std::unique_ptr<ipsec::Transforms> transforms,
               const io::Clock& clock, CommandQueue& commands, EventQueue& events)
    : config_(config),
      clock_(clock),
      ports_(std::move(ports)),
      transforms_(std::move(transforms)),
      commands_(commands),
      events_(events),
      flows_(config.flows, flow_log_),
      sequencer_(config.self, config.sequencer),
      lessee_(config.self, config.incarnation, config.lessee),
      commits_(config.self, config.incarnation, config.commits),
      owner_inbound_(config.owner_inbound, {.transforms = *transforms_,
                                            .sad = sad_,
                                            .drops = drops_,
                                            .hash_key = config.hash_key,
                                            .flow_log = &flow_log_,
                                            .flows = &flows_}),
      target_inbound_(config.target_inbound, {.transforms = *transforms_,
                                              .sad = sad_,
                                              .commits = commits_,
                                              .drops = drops_,
                                              .sink = *this,
                                              .flows = &flows_}),
      target_outbound_(config.target_outbound, {.transforms = *transforms_,
                                                .sad = sad_,
                                                .lessee = lessee_,
                                                .drops = drops_,
                                                .sink = *this,
                                                .flows = &flows_}),
      accepted_hold_(config.accepted_hold),
      cut_(std::make_unique_for_overwrite<std::uint8_t[]>(wire::kBurst * kCutSlot)) {
  const auto of = [](const std::unique_ptr<io::PacketPort>& port) { return port ? &port->counters() : nullptr; };
  counters_ = {.drops = &drops_,
               .owner_inbound = &owner_inbound_.counters(),
               .target_inbound = &target_inbound_.counters(),
               .target_outbound = &target_outbound_.counters(),
               .tun = of(ports_.tun),
               .raw = of(ports_.raw),
               .xcf_data = of(ports_.xcf_data),
               .xcf_fast = of(ports_.xcf_fast)};
}

Worker::~Worker() = default;

Worker::Turn Worker::turn() {
  now_ = clock_.now();
  bool busy = apply_commands();
  busy |= receive_fast();  // grants first: what waits for them goes before what comes now
  busy |= receive_dvipas();
  busy |= receive_raw();
  busy |= receive_xcf();
  busy |= receive_tun();
  run_timers();
  send_fast();
  tell_accepted();
  send_events();
  send_flow_records();
  return {.busy = busy,
          .next_timer = std::min({sequencer_.next_timer(), lessee_.next_timer(), commits_.next_timer(),
                                  flows_.next_timer(), owner_inbound_.next_timer(), target_inbound_.next_timer(),
                                  target_outbound_.next_timer(), accepted_hold_.next_timer()})};
}

std::vector<int> Worker::descriptors() const {
  std::vector<int> all;
  const auto add = [&all](const std::unique_ptr<io::PacketPort>& port) {
    if (port && port->descriptor() >= 0) all.push_back(port->descriptor());
  };
  for (const auto* port : {&ports_.tun, &ports_.raw, &ports_.xcf_data, &ports_.xcf_fast}) add(*port);
  for (const DvipaPorts& ports : dvipa_ports_) {
    add(ports.ike);
    add(ports.nat_t);
  }
  return all;
}

// ---- the owner's role: from the network to the targets ----

bool Worker::receive_dvipas() {
  bool busy = false;
  for (const DvipaPorts& ports : dvipa_ports_) {
    if (ports.ike) {
      const auto burst = std::span(burst_).first(ports.ike->receive(burst_));
      if (!burst.empty()) act(owner_inbound_.ike(burst), burst);
      busy |= !burst.empty();
    }
    if (ports.nat_t) {
      const auto burst = std::span(burst_).first(ports.nat_t->receive(burst_));
      if (!burst.empty()) act(owner_inbound_.nat_t(burst, now_), burst);
      busy |= !burst.empty();
    }
  }
  return busy;
}

bool Worker::receive_raw() {
  if (!ports_.raw) return false;
  const auto burst = std::span(burst_).first(ports_.raw->receive(burst_));
  // A peer on the same machine may send super-segments; the stages take packets as they are on a wire.
  for (std::size_t from = 0; from < burst.size();) {
    std::size_t to = from;
    while (to < burst.size() && burst[to].segment_size == 0) ++to;
    const auto whole = burst.subspan(from, to - from);
    if (!whole.empty()) act(owner_inbound_.raw(whole, now_), whole);
    if (to < burst.size()) act_on_cut(burst[to]);
    from = to + 1;
  }
  return !burst.empty();
}

void Worker::act_on_cut(const wire::Packet& super_segment) {
  const auto cut = target::Segmenter::of(super_segment);
  if (!cut) return drops_.count(Drop::kMalformed);
  if (cut->largest() > kCutSlot) return drops_.count(Drop::kTooBig);
  std::array<wire::Packet, wire::kBurst> pieces;
  target::SegmentHeader header;
  for (std::uint32_t index = 0; index < cut->count();) {
    std::size_t count = 0;
    for (; index < cut->count() && count < pieces.size(); ++index, ++count) {
      const target::Segment segment = cut->segment(index, header);
      pieces[count] = super_segment;
      pieces[count].data = cut_.get() + count * kCutSlot;
      pieces[count].size = static_cast<std::uint32_t>(segment.size());
      pieces[count].segment_size = 0;
      pieces[count].checksum_missing = false;
      std::ranges::copy(segment.header, pieces[count].data);
      std::ranges::copy(segment.payload, pieces[count].data + segment.header.size());
    }
    const auto whole = std::span(pieces).first(count);
    act(owner_inbound_.raw(whole, now_), whole);
  }
}

void Worker::act(std::span<const distributor::Verdict> verdicts, std::span<const wire::Packet> burst) {
  using Kind = distributor::Verdict::Kind;
  const distributor::Verdict* expected = nullptr;  // the last one from which an answer is
  note_accepted();
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    const distributor::Verdict& verdict = verdicts[i];
    if (holds(verdict.accepted)) {
      hold(verdict);
      continue;
    }
    switch (verdict.kind) {
      case Kind::kForward:
        forward(verdict.out);
        if (config_.sequencer.offers && is_answered(verdict, expected)) {
          expect_answer(verdict);
          expected = &verdict;
        }
        break;
      case Kind::kLocal:
        deliver_local(verdict.bytes);
        break;
      case Kind::kIke:
        emit(IkeReceived{.datagram = {.local = burst[i].destination,
                                      .remote = burst[i].source,
                                      .payload = {verdict.bytes.begin(), verdict.bytes.end()}}});
        break;
      case Kind::kDrop:
      case Kind::kIgnore:
      case Kind::kHeld:
        break;
    }
  }
  send_forwarded();
  send_local();
  for (const distributor::PeerMoved& moved : owner_inbound_.moved()) {
    emit(PeerMoved{.sa = moved.sa, .remote = moved.remote});
  }
  for (const distributor::PathMtuHint& hint : owner_inbound_.path_mtus()) learn_path_mtu(hint);
}

/// The target's application will need numbers for what it answers.
void Worker::expect_answer(const distributor::Verdict& forwarded) {
  if (const ipsec::Sa* sa = sad_.find_outbound(forwarded.tunnel))
    sequencer_.expect(sa->id(), forwarded.target, now_, outbox_);
}

void Worker::forward(const wire::Outgoing& out) {
  if (forwarded_count_ == forwarded_.size()) send_forwarded();
  forwarded_[forwarded_count_] = out;
  forwarded_[forwarded_count_].source = config_.xcf_data;
  ++forwarded_count_;
}

void Worker::send_forwarded() {
  if (forwarded_count_ != 0 && ports_.xcf_data) {
    // Trains are runs to one place: a stable order by target keeps each flow's own order.
    const auto all = std::span(forwarded_).first(forwarded_count_);
    std::stable_sort(all.begin(), all.end(), [](const wire::Outgoing& a, const wire::Outgoing& b) {
      return a.destination.address < b.destination.address;
    });
    ports_.xcf_data->send(all);
  }
  forwarded_count_ = 0;
}

void Worker::deliver_local(std::span<const std::uint8_t> packet) {
  if (local_count_ == local_.size()) send_local();
  wire::Outgoing& out = local_[local_count_++];
  out = wire::Outgoing{};
  out.body = packet.data();
  out.body_size = static_cast<std::uint32_t>(packet.size());
}

void Worker::send_local() {
  if (local_count_ != 0) deliver(std::span(local_).first(local_count_));
  local_count_ = 0;
}

// ---- the target's role: from XCF to the applications, and from them to the network ----

bool Worker::receive_xcf() {
  if (!ports_.xcf_data) return false;
  const auto burst = std::span(burst_).first(ports_.xcf_data->receive(burst_));
  if (!burst.empty()) target_inbound_.process(burst, now_);
  return !burst.empty();
}

bool Worker::receive_tun() {
  if (!ports_.tun) return false;
  const auto burst = std::span(burst_).first(ports_.tun->receive(burst_));
  if (!burst.empty()) target_outbound_.process(burst, now_);
  return !burst.empty();
}

void Worker::deliver(std::span<const wire::Outgoing> packets) {
  if (ports_.tun) ports_.tun->send(packets);
}

void Worker::send_xcf(std::span<const wire::Outgoing> packets) {
  for (const wire::Outgoing& out : packets) forward(out);
  send_forwarded();
}

void Worker::reply(const wire::Packet& packet) { target_outbound_.process({&packet, 1}, now_); }

void Worker::unknown_spi(IpAddress dvipa, Spi spi, IpAddress remote) {
  emit(UnknownSpi{.dvipa = dvipa, .spi = spi, .remote = remote});
}

void Worker::send_protected(const ipsec::Sa& sa, std::span<const wire::Outgoing> train) {
  io::PacketPort* port = ports_.raw.get();
  if (sa.udp_encapsulation()) {
    const DvipaPorts* ports = ports_of(sa.local());
    port = ports == nullptr ? nullptr : ports->nat_t.get();
  }
  if (port == nullptr) return drops_.count(Drop::kPortFull, train.size());
  port->send(train);
}

void Worker::send_clear(std::span<const wire::Outgoing> packets) {
  if (!ports_.raw) return drops_.count(Drop::kPortFull, packets.size());
  ports_.raw->send(packets);
}

Worker::DvipaPorts* Worker::ports_of(IpAddress dvipa) {
  const auto found = std::find_if(dvipa_ports_.begin(), dvipa_ports_.end(),
                                  [dvipa](const DvipaPorts& p) { return p.dvipa == dvipa; });
  return found == dvipa_ports_.end() ? nullptr : &*found;
}

}  // namespace testudo::path
