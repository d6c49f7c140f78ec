// SPDX-License-Identifier: Apache-2.0
#include "sim/protocol/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "distributor/forwarding.h"
#include "sim/protocol/owner.h"
#include "sim/protocol/world.h"

namespace testudo::sim::protocol {
namespace {

constexpr std::uint32_t kHeldMost = 256;  // packets per tunnel; then TCP sees loss
constexpr Duration kJoinFirst = 5ms, kJoinMost = 160ms;

}  // namespace

Host::Host(World& world, NodeId id) : world_(world), id_(id) {}
Host::~Host() = default;

std::string Host::name() const { return fmt::format("host {}", id_.value()); }
bool Host::paused() const { return world_.now() < paused_until_; }
Time Host::clock() const { return clock_.read(world_.now()); }

// ---- its life ----

void Host::start(DriftingClock clock) {
  CHECK(!running());
  ++life_;
  clock_ = clock;
  lessee_ = std::make_unique<sequence::Lessee>(id_, life_, world_.plan().lessee);
  commits_ = std::make_unique<sequence::ReplayCommits>(
      id_, life_, sequence::ReplayCommitsConfig{.sas_max = world_.plan().tunnels});
  for (const Tunnel& tunnel : world_.tunnels()) {
    lessee_->add_sa(tunnel.outbound, {.dvipa = kDvipa, .epoch = epoch_, .owner = owner_id_});
  }
  world_.tell(name(), "starts, life {}", life_);
}

void Host::crash() {
  if (!running()) return;
  world_.tell(name(), "crashes");
  owner_.reset();
  lessee_.reset();
  commits_.reset();
  windows_.clear();
  deleted_.clear();
  keeper_ = {};
  held_.clear();
  outbox_.clear();
  epoch_ = welcomed_ = Epoch();
  owner_id_ = NodeId();
  welcome_ = has_read_ = false;
  paused_until_ = Time{};
  timer_ = Time::max();
}

void Host::pause(Time until) {
  if (!up()) return;
  world_.tell(name(), "is stopped for {} us", (until - world_.now()) / 1us);
  paused_until_ = until;
  input([this] {
    world_.tell(name(), "goes on");
    welcomed_ = Epoch();  // the owner may have given it up
    join(kJoinFirst);
  });
}

void Host::input(std::function<void()> task) {
  if (!running()) return;
  if (paused()) {
    const std::uint32_t life = life_;
    world_.at(paused_until_, [this, life, task = std::move(task)]() mutable {
      if (life == life_) input(std::move(task));
    });
    return;
  }
  task();
  turn();
}

void Host::jump(Duration by) {
  if (!running()) return;
  world_.tell(name(), "its clock jumps by {} us", by / 1us);
  clock_.jump(by, world_.now());
  timer_ = Time::max();
  if (owner_ != nullptr) world_.judge().sequencer_jumped();
  input([] {});
}

// ---- ownership ----

void Host::reads(Epoch epoch, NodeId owner) {
  has_read_ = true;
  adopt(epoch, owner);
}

void Host::hears_of(Epoch epoch, NodeId owner) {
  if (has_read_) adopt(epoch, owner);
}

void Host::adopt(Epoch epoch, NodeId owner) {
  if (epoch <= epoch_) return;
  world_.tell(name(), "hears that host {} is the owner, epoch {}", owner.value(), epoch.value());
  epoch_ = epoch;
  owner_id_ = owner;
  if (owner_ != nullptr && owner != id_) owner_.reset();
  keeper_.fence(epoch);
  lessee_->set_owner(kDvipa, epoch, owner);
  commits_->set_owner(kDvipa, epoch, owner);
  join(kJoinFirst);
}

void Host::becomes_owner(Epoch epoch) {
  if (epoch < epoch_) return;  // somebody else's by now
  world_.tell(name(), "is the owner, epoch {}", epoch.value());
  owner_ = std::make_unique<Owner>(world_, *this, epoch);
  reads(epoch, id_);
  welcomed(epoch, life_);
  owner_->begin();
}

/// Asks the owner to be a target, until it says so.
void Host::join(Duration again) {
  if (welcomed_ == epoch_ || owner_id_ == NodeId() || owner_id_ == id_) return;
  world_.send(id_, owner_id_, [from = id_, life = life_](Host& host) {
    if (host.owner() != nullptr) host.owner()->on_join(from, life);
  });
  const Epoch epoch = epoch_;
  const std::uint32_t life = life_;
  world_.after(again, [this, epoch, life, again] {
    if (life != life_ || epoch != epoch_) return;
    input([this, again] { join(std::min(again * 2, kJoinMost)); });
  });
}

void Host::welcomed(Epoch epoch, std::uint32_t life) {
  if (life != life_ || epoch != epoch_) return;
  welcome_ = true;
  welcomed_ = epoch;
}

// ---- takeover ----

void Host::on_asked(Epoch epoch, NodeId owner) {
  hears_of(epoch, owner);
  if (epoch != epoch_ || owner != owner_id_) return;
  world_.send(id_, owner, [epoch, report = report()](Host& host) {
    if (host.owner() != nullptr && host.owner()->epoch() == epoch) host.owner()->on_report(report);
  });
}

distributor::MemberReport Host::report() const {
  distributor::MemberReport report{
      .from = {id_, life_}, .windows = {}, .record_epoch = keeper_.epoch(), .record = {}};
  for (const auto& [sa, window] : windows_) report.windows.push_back(distributor::report_of(sa, window));
  for (const auto& [sa, window] : keeper_.windows()) report.record.push_back(window);
  return report;
}

void Host::on_record(NodeId from, const distributor::ReplayRecord& record) {
  if (record.epoch != epoch_ || !keeper_.keep(record)) return;
  world_.send(id_, from, [me = id_, epoch = record.epoch, copy = record.copy, serial = record.serial](Host& host) {
    if (host.owner() != nullptr && host.owner()->epoch() == epoch) host.owner()->on_kept(me, copy, serial);
  });
}

// ---- sending ----

void Host::produce(std::uint32_t tunnel, std::uint32_t count) {
  std::uint32_t& held = held_[tunnel];
  held = std::min(held + count, kHeldMost);
}

std::uint64_t Host::held() const {
  std::uint64_t all = 0;
  for (const auto& [tunnel, count] : held_) all += count;
  return all;
}

/// What a worker does once a turn: offers what is held, sends, then lets the state machines speak.
void Host::turn() {
  for (auto& [tunnel, count] : held_) {
    if (count > 0) send_all(tunnel);
    if (paused()) return;  // preempted in the middle
  }
  lessee_->poll(clock(), outbox_);
  commits_->poll(clock(), outbox_);
  if (owner_ != nullptr) owner_->turn();
  flush();
  set_timer();
}

void Host::send_all(std::uint32_t tunnel) {
  const SaId sa = world_.tunnels()[tunnel].outbound;
  std::uint32_t& held = held_[tunnel];
  while (const sequence::Numbers numbers = lessee_->take(sa, held, clock())) {
    held -= numbers.count;
    if (!world_.chance(world_.plan().preemption)) {
      send(sa, numbers);
      continue;
    }
    // Between the last look at the clock and the network.
    const bool valid = lessee_->still_valid(numbers, clock());
    paused_until_ = world_.now() + 1us + world_.random(world_.chance(0.5) ? Duration(200us) : Duration(120ms));
    world_.tell(name(), "is preempted with {} to {} of SA {}", numbers.first.value(), numbers.last().value(),
                sa.value());
    input([this, sa, numbers, valid] {
      if (valid) world_.to_peer(*this, sa, numbers);
      lessee_->sent(sa, numbers.last());
    });
    return;
  }
  if (lessee_->exhausted(sa)) held = 0;
}

void Host::send(SaId sa, const sequence::Numbers& numbers) {
  if (lessee_->still_valid(numbers, clock())) world_.to_peer(*this, sa, numbers);
  lessee_->sent(sa, numbers.last());
}

void Host::flush() {
  for (std::size_t i = 0; i < outbox_.size(); ++i) flush(outbox_.datagram(i));
  outbox_.clear();
}

void Host::flush(const wire::FastDatagram& datagram) {
  const auto message = wire::FastMessage::parse(datagram.bytes);
  if (!message) return world_.judge().fail(name() + " sends a datagram that does not parse");
  world_.observe(*this, datagram.to, *message);
  std::vector<std::uint8_t> bytes(datagram.bytes.begin(), datagram.bytes.end());
  world_.send(id_, datagram.to,
              [bytes = std::move(bytes)](Host& host) { host.on_fast(*wire::FastMessage::parse(bytes)); });
}

void Host::set_timer() {
  Time next = std::min(lessee_->next_timer(), commits_->next_timer());
  if (owner_ != nullptr) next = std::min(next, owner_->next_timer());
  if (next == Time::max()) return;
  const Time when = std::max(world_.now() + 1us, clock_.when(next, world_.now()));
  if (when >= timer_) return;
  timer_ = when;
  world_.at(when, [this, life = life_, when] {
    if (life != life_ || timer_ != when) return;
    timer_ = Time::max();
    input([] {});
  });
}

// ---- receiving ----

void Host::on_fast(const wire::FastMessage& message) {
  const wire::FastType type = message.header().type;
  if (type == wire::FastType::kLeaseGrant || type == wire::FastType::kLeaseRecall) {
    const std::size_t before = lessee_->granted().size();
    lessee_->receive(message, clock());
    if (lessee_->granted().size() > before) world_.judge().honours(id_, life_, message.header().epoch, "grant");
  } else if (owner_ != nullptr) {
    owner_->on_fast(message);
  }
}

// As target/inbound.cc does it: from the present owner, under the present epoch; the window; the ICV; the window
// again.
void Host::on_forward(NodeId from, std::uint32_t key, std::uint32_t high, const EspPacket& packet) {
  if (!welcome_ || from != owner_id_ || !distributor::ForwardKey{key}.matches(epoch_)) return;
  world_.judge().honours(id_, life_, epoch_, "forward");
  const SeqNo number(std::uint64_t{high} << 32 | packet.low);
  ipsec::ReplayWindow* seen = window(packet.sa);
  if (seen == nullptr || seen->check(number)) return;
  if (!packet.authentic(number)) {
    world_.tell(name(), "rejects {} of SA {}", number.value(), packet.sa.value());
    return commits_->rejected(packet.sa, number, clock());
  }
  seen->commit(number);
  commits_->accepted(packet.sa, number, clock());
  world_.accepted(packet, number, *this, epoch_);
}

ipsec::ReplayWindow* Host::window(SaId sa) {
  if (deleted_.contains(sa)) return nullptr;
  const auto found = windows_.find(sa);
  if (found != windows_.end()) return &found->second;
  commits_->add_sa(sa, {.dvipa = kDvipa, .epoch = epoch_, .owner = owner_id_, .window = world_.plan().our_window});
  return &windows_.emplace(sa, ipsec::ReplayWindow(world_.plan().our_window)).first->second;
}

void Host::forget_sa(SaId sa) {
  deleted_.insert(sa);
  if (windows_.erase(sa) != 0) commits_->remove_sa(sa);
}

}  // namespace testudo::sim::protocol
