// SPDX-License-Identifier: Apache-2.0
// An owner's control plane for tests, without a node around it: OwnerRole and all that it calls, on a facility in
// virtual time. OwnerRoleTest: the fixture of its own tests.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "facility/memory/memory_facility.h"
#include "facility/memory/memory_store.h"
#include "node/owner_role.h"
#include "node/world_for_test.h"

namespace testudo::node {

inline constexpr NodeId kSelf(1);
inline constexpr IpAddress kPeer(0xc0000201);

inline NodeConfig config_of_owner() {
  NodeConfig config;
  config.name = "owner";
  config.cluster = "c1";
  config.definition = vipa::parse_definition(
                          "VIPADYNAMIC VIPADEFINE 255.255.255.0 192.0.2.100 VIPADISTRIBUTE DEFINE "
                          "192.0.2.100 PORT 443 DESTIP 10.77.0.2 10.77.0.3 ENDVIPADYNAMIC",
                          "test")
                          .definition;
  return config;
}

/// What outlives a process: the cluster's facility, and the configuration.
struct OwnerHost {
  NodeConfig config = config_of_owner();
  facility::TestExecutor executor{facility::TestExecutor::kVirtual};
  facility::MemoryStore store{executor};
  std::unique_ptr<facility::Facility> facility = store.connect(executor, "owner");
};

/// One process of a node.
struct OwnerProcess {
  explicit OwnerProcess(
      OwnerHost& host, std::function<void(SaId)> manual_expired = [](SaId) {})
      : host_(host), manual_expired_(std::move(manual_expired)) {}

  OwnerHost& host_;
  std::function<void(SaId)> manual_expired_;
  SeededRng rng{1};
  ipsec::SaFactory factory{1};
  RecordingBus bus;
  RecordingPlane plane;
  RecordingIke ike;
  RecordingLog log;
  vipa::Ownership ownership{*host_.facility,
                            host_.executor,
                            {.cluster = "c1", .definition = host_.config.definition},
                            {.became_owner = [](const vipa::Acquired&) {},
                             .lost = [](IpAddress, const std::string&) {},
                             .changed = [](const vipa::DvipaState&) {},
                             .note = [](const std::string&) {}}};
  vipa::Readiness readiness{kSelf};
  LocalSas local_sas{{}, factory, plane};
  std::vector<std::pair<SaId, SeqNo>> reserved;
  Ceilings ceilings{*host_.facility,
                    host_.executor,
                    "/testudo/c1/",
                    [this](IpAddress a) { return ownership.owner_key(a); },
                    [this](SaId sa, SeqNo last) { reserved.emplace_back(sa, last); },
                    [](const std::string&) {}};
  int tables_changed = 0;
  OwnerRole role{{.config = host_.config,
                  .executor = host_.executor,
                  .rng = rng,
                  .bus = bus,
                  .plane = plane,
                  .local_sas = local_sas,
                  .ceilings = ceilings,
                  .ownership = ownership,
                  .readiness = readiness,
                  .ike = &ike,
                  .log = log,
                  .self = kSelf,
                  .tables_changed = [this] { ++tables_changed; },
                  .manual_expired = manual_expired_}};
};

/// With a static filter in the configuration.
struct OwnerHostWithFilter : OwnerHost {
  OwnerHostWithFilter() {
    config.filters = {{.dvipa = kDvipa,
                       .action = StaticFilter::Action::kPermit,
                       .direction = StaticFilter::Direction::kInbound,
                       .protocol = 6,
                       .ports = {{80, 80}},
                       .remote_ports = {},
                       .remote = {},
                       .priority = 9}};
  }
};

/// This node owns kDvipa.
class OwnerRoleTest : public testing::Test, protected OwnerHostWithFilter, protected OwnerProcess {
 protected:
  OwnerRoleTest() : OwnerProcess(static_cast<OwnerHost&>(*this)) {
    facility->compare_and_set({.key = ownership.owner_key(kDvipa), .value = "owner"},
                              [this](Result<facility::CasOutcome> o) { epoch = Epoch(o->revision.value()); });
    executor.run_for(1s);
    role.became_owner(kDvipa, epoch);
    role.serve(kDvipa);
  }

  /// A target named by DESTIP, whose link has come up; what it was sent is forgotten.
  void target(const std::string& name, std::uint16_t id) {
    role.link_up(hello_of(name, id));
    bus.take();
  }
  void target_again(const std::string& name, std::uint16_t id) { role.link_up(hello_of(name, id)); }
  SaId add(ipsec::Direction direction, std::uint32_t spi, ipsec::LifesizeLimits limits = {}) {
    auto sa = sa_of(0, direction, spi);
    sa.id = SaId();
    sa.limits = limits;
    const auto done = role.add_sa(std::move(sa));
    EXPECT_TRUE(done) << (done ? "" : done.error().message);
    const ike::SaName name{Spi(spi), direction == ipsec::Direction::kInbound ? kDvipa : kPeer};
    const auto* found = installation().find(name);
    return found == nullptr ? SaId() : found->id;
  }
  const ike::Installation& installation() { return *role.owned().at(kDvipa).installation; }
  void ack(const std::string& node, const xcf::v1::Install& install, const std::string& refused = "") {
    xcf::v1::Ack answer;
    answer.set_number(install.number());
    answer.set_dvipa(install.dvipa());
    answer.set_epoch(install.epoch());
    answer.set_refused(refused);
    role.acknowledged(node, answer);
  }
  /// What "t1" has used in all.
  void report(SaId sa, std::uint64_t bytes, std::uint64_t packets, Epoch under) {
    xcf::v1::LifesizeReport message;
    message.set_dvipa(kDvipa.to_bytes());
    message.set_epoch(under.value());
    auto& used = *message.add_used();
    used.set_sa(sa.value());
    used.set_bytes(bytes);
    used.set_packets(packets);
    role.lifesize_report("t1", message);
  }
  [[nodiscard]] std::string ceiling(SaId sa) const {
    const auto found = store.entries().find(fmt::format("/testudo/c1/ceiling/{:016x}", sa.value()));
    return found == store.entries().end() ? "none" : found->second.value;
  }

  Epoch epoch;
};

}  // namespace testudo::node
