// SPDX-License-Identifier: Apache-2.0
#include "node/manual_sas.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ike/manual_sa.h"
#include "node/owner_world_for_test.h"

namespace testudo::node {
namespace {

using ipsec::Direction;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* kPath = "/etc/testudo/branch.toml";

std::string key_of(int number) { return fmt::format("{:064x}", number); }

std::string sa_text(const std::string& direction, int spi, int key, const std::string& more = "") {
  return fmt::format(
      "[[sa]]\ntunnel = \"branch\"\ndvipa = \"192.0.2.100\"\npeer = \"192.0.2.1\"\ndirection = \"{}\"\n{}[sa.ah]\n"
      "spi = {}\nintegrity = \"HMAC-SHA256-128\"\nintegrity-key = \"{}\"\n[sa.esp]\nspi = {}\nencryption = "
      "\"AES-CBC-128\"\nencryption-key = \"00112233445566778899aabbccddeeff\"\nintegrity = \"HMAC-SHA256-128\"\n"
      "integrity-key = \"{}\"\n",
      direction, more, spi, key_of(key), spi + 1000, key_of(key + 1'000'000));
}
const std::string kFilter = "[[filter]]\ndvipa = \"192.0.2.100\"\naction = \"protect\"\ntunnel = \"branch\"\n";

/// One process of a node, with manual SAs.
struct Process : OwnerProcess {
  explicit Process(OwnerHost& host) : OwnerProcess(host, [this](SaId sa) { manual.expired(sa); }) {}

  ManualSas manual{{.config = host_.config,
                    .executor = host_.executor,
                    .rng = rng,
                    .ceilings = ceilings,
                    .owner = role,
                    .log = log}};
};

class ManualSasTest : public testing::Test, protected OwnerHost {
 protected:
  ManualSasTest() {
    restart();
    own();
  }
  void restart() {
    process.reset();
    process = std::make_unique<Process>(static_cast<OwnerHost&>(*this));
  }
  void own() {
    facility->compare_and_set({.key = process->ownership.owner_key(kDvipa), .value = "owner"},
                              [this](Result<facility::CasOutcome> o) {
                                ASSERT_TRUE(o);
                                epoch = Epoch(o->done ? o->revision.value() : o->current->created.value());
                              });
    executor.run_for(1s);
    process->role.became_owner(kDvipa, epoch);
    process->role.serve(kDvipa);
    process->manual.became_owner(kDvipa);
    executor.run_for(1s);
  }
  /// Ownership ends, here and in the facility.
  void disown() {
    process->role.lost(kDvipa);
    process->manual.lost(kDvipa);
    facility->remove(process->ownership.owner_key(kDvipa), facility::Revision(epoch.value()), [](auto) {});
    executor.run_for(1s);
  }
  static ManualFile parsed(const std::string& text, const std::string& path = kPath) {
    LoadedManualFile loaded =
        parse_manual_file(Secret({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()}), path, nullptr);
    for (const auto& e : loaded.errors) ADD_FAILURE() << e.to_string();
    return std::move(loaded.file);
  }
  Result<ManualSas::Loaded> load(const std::string& text, const std::string& path = kPath) {
    std::optional<Result<ManualSas::Loaded>> got;
    process->manual.load(parsed(text, path), [&](Result<ManualSas::Loaded> done) { got = std::move(done); });
    executor.run_for(30s);
    return got ? *got : fail("no answer");
  }
  const ike::Installation& installation() { return *process->role.owned().at(kDvipa).installation; }
  /// Ids of what is installed, by SPI.
  std::map<std::uint32_t, SaId> installed() {
    std::map<std::uint32_t, SaId> list;
    for (const auto& [id, sa] : installation().sas()) list[sa.spi.value()] = id;
    return list;
  }
  /// The first number that the worker was told of the SA with this SPI.
  SeqNo first_of(std::uint32_t spi) {
    SeqNo first;
    for (const auto* install : process->plane.all<path::InstallSa>()) {
      if (install->sa->spi() == Spi(spi)) first = install->first;
    }
    return first;
  }
  /// As the sequencer asks; what it may then grant.
  SeqNo reserve(std::uint32_t spi, std::uint64_t last) {
    const SaId id = installed().at(spi);
    process->role.need_ceiling(id, SeqNo(last));
    executor.run_for(1s);
    SeqNo granted;
    for (const auto& [sa, number] : process->reserved) {
      if (sa == id) granted = number;
    }
    return granted;
  }

  Epoch epoch;
  std::unique_ptr<Process> process;
  const std::string pair_text = sa_text("in", 2001, 1) + sa_text("out", 3001, 2);
};

TEST_F(ManualSasTest, AreInstalledAndDistributedLikeOthers) {
  process->role.link_up(hello_of("t1", 2));
  process->bus.take();
  const auto done = load(pair_text + kFilter);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->installed, 2u);
  EXPECT_EQ(done->filters, 1u);
  std::size_t sas = 0, filters = 0;
  for (const auto& sent : process->bus.take()) {
    if (!sent.message.has_install()) continue;
    for (const auto& sa : sent.message.install().sas()) {
      ++sas;
      EXPECT_EQ(sa.tunnel(), "manual:branch");
      EXPECT_TRUE(sa.has_inner_esp());
      EXPECT_EQ(sa.replay_window(),
                sa.outbound() ? config.ipsec.replay_window : config.ipsec.inbound_replay_window);
    }
    for (const auto& filter : sent.message.install().filters()) {
      ++filters;
      EXPECT_EQ(filter.tunnel(), "manual:branch");
      EXPECT_EQ(filter.priority(), 50'000u);
    }
  }
  EXPECT_EQ(sas, 2u);
  EXPECT_EQ(filters, 2u);
  EXPECT_THAT(process->plane.all<path::InstallSa>(), SizeIs(2));
  const auto files = process->manual.files();
  ASSERT_THAT(files, SizeIs(1));
  EXPECT_EQ(files[0].installed, 2u);
}

// What keeps (SA, number) from coming twice.
TEST_F(ManualSasTest, NumbersGoOnAfterUnloadingRestartAndAnotherOwner) {
  ASSERT_TRUE(load(pair_text));
  EXPECT_EQ(first_of(3001), SeqNo(1));
  EXPECT_EQ(reserve(3001, 5000), SeqNo(5000));
  ASSERT_TRUE(process->manual.unload(kPath));
  ASSERT_TRUE(load(pair_text));
  EXPECT_EQ(first_of(3001), SeqNo(5001));
  EXPECT_EQ(reserve(3001, 7000), SeqNo(7000));

  restart();  // under the same epoch even
  process->role.became_owner(kDvipa, epoch);
  ASSERT_TRUE(load(pair_text));
  EXPECT_EQ(first_of(3001), SeqNo(7001));
  EXPECT_EQ(reserve(3001, 9000), SeqNo(9000));

  // The same key under another SPI, and in another file.
  ASSERT_TRUE(process->manual.unload(kPath));
  ASSERT_TRUE(load(sa_text("out", 3999, 2), "/another.toml"));
  EXPECT_EQ(first_of(3999), SeqNo(9001));
  // Another key begins anew.
  ASSERT_TRUE(load(sa_text("out", 3999, 77), "/another.toml"));
  EXPECT_EQ(first_of(3999), SeqNo(1));
}

// The facility has no key, and nothing that was made of the encryption key.
TEST_F(ManualSasTest, TheFacilityHasANameAndANumber) {
  ASSERT_TRUE(load(pair_text));
  reserve(3001, 5000);
  std::vector<std::string> keys;
  for (const auto& [key, entry] : store.entries()) {
    EXPECT_EQ((key + entry.value).find(key_of(2).substr(40)), std::string::npos);
    if (key.find("manual-ceiling") != std::string::npos) keys.push_back(key);
  }
  EXPECT_THAT(keys, SizeIs(1));
}

TEST_F(ManualSasTest, ComeBackWithTheOwnership) {
  ASSERT_TRUE(load(pair_text + kFilter));
  reserve(3001, 5000);
  disown();
  EXPECT_EQ(process->manual.files().at(0).installed, 0u);
  store.set_reachable("owner", false);
  store.set_reachable("owner", true);
  own();
  EXPECT_EQ(process->manual.files().at(0).installed, 2u);
  EXPECT_THAT(installed(), SizeIs(2));
  EXPECT_EQ(first_of(3001), SeqNo(5001));
  EXPECT_THAT(installation().filters(), SizeIs(2));
  EXPECT_THAT(process->ike.expired, IsEmpty());  // charon has never heard of them
}

TEST_F(ManualSasTest, WaitForTheOwnership) {
  disown();
  const auto done = load(pair_text);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->waiting, 2u);
  own();
  EXPECT_THAT(installed(), SizeIs(2));
}

TEST_F(ManualSasTest, WhatHasNotChangedGoesOn) {
  ASSERT_TRUE(load(pair_text + kFilter));
  const auto before = installed();
  const auto done = load(sa_text("in", 2001, 1) + sa_text("out", 3002, 3) + kFilter);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_EQ(done->kept, 1u);
  EXPECT_EQ(done->installed, 1u);
  EXPECT_EQ(done->removed, 1u);
  EXPECT_EQ(installed().at(2001), before.at(2001));
  EXPECT_FALSE(installed().contains(3001));
  EXPECT_TRUE(installed().contains(3002));
  EXPECT_THAT(installation().filters(), SizeIs(2));
  // The same SPI with another key is another SA.
  ASSERT_TRUE(load(sa_text("in", 2001, 9) + kFilter));
  EXPECT_NE(installed().at(2001), before.at(2001));
}

TEST_F(ManualSasTest, AllOrNothing) {
  ASSERT_TRUE(load(pair_text));
  const auto before = installed();
  store.set_reachable("owner", false);
  const auto done = load(sa_text("in", 2005, 5) + sa_text("out", 3005, 6));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("could not be had from the coupling facility"));
  EXPECT_EQ(installed(), before);
  store.set_reachable("owner", true);
  executor.run_for(10s);
  auto in = sa_of(0, Direction::kInbound, 2007);  // charon's
  in.id = SaId();
  ASSERT_TRUE(process->role.add_sa(std::move(in)));
  const auto taken = load(sa_text("in", 2007, 7));
  ASSERT_FALSE(taken);
  EXPECT_THAT(taken.error().message, HasSubstr("the SPI is in use"));
  EXPECT_TRUE(installed().contains(3001));
  const auto elsewhere = load(sa_text("in", 2008, 8), "/other.toml");
  ASSERT_FALSE(elsewhere);
  EXPECT_THAT(elsewhere.error().message, HasSubstr("has the tunnel of one in /etc/testudo/branch.toml"));
  EXPECT_FALSE(process->manual.unload("/other.toml"));
}

TEST_F(ManualSasTest, CharonsFlushesDoNotTouchThem) {
  ASSERT_TRUE(load(pair_text + kFilter));
  process->role.flush_sas();
  process->role.flush_policies();
  EXPECT_THAT(installed(), SizeIs(2));
  EXPECT_THAT(installation().filters(), SizeIs(2));
}

TEST_F(ManualSasTest, AHardLimitEndsThemForGood) {
  ASSERT_TRUE(load(sa_text("in", 2001, 1, "limits = {hard-seconds = 100, soft-seconds = 50}\n")));
  executor.run_for(60s);
  process->role.tick();
  EXPECT_THAT(process->log.complaints, ElementsAre(HasSubstr("soft limit")));
  executor.run_for(60s);
  process->role.tick();
  EXPECT_THAT(installed(), IsEmpty());
  EXPECT_THAT(process->ike.expired, IsEmpty());
  EXPECT_THAT(process->log.complaints.back(), HasSubstr("hard limit"));
  ASSERT_TRUE(load(sa_text("in", 2001, 1, "limits = {hard-seconds = 100, soft-seconds = 50}\n")));
  EXPECT_THAT(installed(), IsEmpty());
}

TEST_F(ManualSasTest, AKeyWithoutNumbersIsRefused) {
  const auto file = parsed(sa_text("out", 3001, 2));
  facility->compare_and_set(
      {.key = "/testudo/c1/manual-ceiling/" + ike::sequence_name(file.sas.at(0)), .value = "4294967295 1.1"},
      [](auto) {});
  const auto done = load(sa_text("out", 3001, 2));
  ASSERT_FALSE(done);
  EXPECT_THAT(done.error().message, HasSubstr("give it another integrity-key"));
}

}  // namespace
}  // namespace testudo::node
