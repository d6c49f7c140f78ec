// SPDX-License-Identifier: Apache-2.0
#include "ike/sa_message.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

namespace testudo::ike {
namespace {

using testing::HasSubstr;

xcf::v1::Sa valid_sa() {
  xcf::v1::Sa m;
  m.set_id(0x500000001);
  m.set_outbound(true);
  m.set_spi(0xc0ffee00);
  m.set_local(IpAddress(0xc0000264).to_bytes());
  m.set_remote(IpAddress(0xc6336401).to_bytes());
  m.set_udp_encapsulation(true);
  m.set_local_port(4500);
  m.set_remote_port(61000);
  m.set_tunnel("clients{1}");
  m.set_reqid(1);
  m.set_suite(crypto::suite_number(crypto::Suite::kAesGcm256Icv16));
  m.set_key(std::string(36, 'k'));
  m.set_replay_window(32);
  m.set_esn(true);
  m.mutable_limits()->set_soft_bytes(1);
  m.mutable_limits()->set_hard_bytes(2);
  m.mutable_limits()->set_soft_packets(3);
  m.mutable_limits()->set_hard_packets(4);
  m.mutable_limits()->set_soft_seconds(5);
  m.mutable_limits()->set_hard_seconds(6);
  m.set_protocol(50);
  m.set_dont_fragment(xcf::v1::Sa::CLEAR);
  m.set_copy_dscp(true);
  return m;
}

xcf::v1::Sa ah_over_esp() {
  xcf::v1::Sa m = valid_sa();
  m.set_protocol(51);
  m.set_mode(xcf::v1::Sa::TRANSPORT);
  m.set_udp_encapsulation(false);
  m.set_esn(false);
  m.set_suite(crypto::suite_number({crypto::Cipher::kNone, crypto::Integrity::kHmacSha256}));
  m.set_key(std::string(32, 'a'));
  m.set_local(IpAddress::parse("2001:db8::100")->to_bytes());
  m.set_remote(IpAddress::parse("2001:db8:1::1")->to_bytes());
  m.mutable_inner_esp()->set_spi(0x1000);
  m.mutable_inner_esp()->set_suite(crypto::suite_number(crypto::Suite::kAesGcm128Icv16));
  m.mutable_inner_esp()->set_key(std::string(20, 'e'));
  return m;
}

xcf::v1::Filter valid_filter() {
  xcf::v1::Filter f;
  f.set_id(1);
  f.set_action(xcf::v1::Filter::PROTECT);
  f.set_tunnel("clients{1}");
  f.set_source_first(IpAddress(0xc0000200).to_bytes());
  f.set_source_last(IpAddress(0xc00002ff).to_bytes());
  f.set_destination_first(IpAddress(0).to_bytes());
  f.set_destination_last(IpAddress(0xffffffff).to_bytes());
  f.set_source_port_last(65535);
  f.set_destination_port_last(65535);
  return f;
}

TEST(SaMessage, AhOverEspSurvivesTheWayThereAndBackAndIsScrubbed) {
  const auto sa = sa_from_message(ah_over_esp());
  ASSERT_TRUE(sa) << sa.error().message;
  EXPECT_EQ(sa->protocol, ipsec::Protocol::kAh);
  EXPECT_EQ(sa->mode, ipsec::Mode::kTransport);
  EXPECT_EQ(sa->inner_esp->spi, Spi(0x1000));
  xcf::v1::Sa message = sa_to_message(*sa);
  EXPECT_EQ(message.SerializeAsString(), ah_over_esp().SerializeAsString());
  scrub(message);
  EXPECT_EQ(message.key() + message.inner_esp().key(), "");
}

TEST(SaMessage, UpdateSurvivesTheWayThereAndBack) {
  auto sa = *sa_from_message(valid_sa());
  const auto move = update_from_message(update_to_message(sa));
  ASSERT_TRUE(move) << move.error().message;
  EXPECT_EQ(move->id, sa.id);
  EXPECT_EQ(move->remote, (Endpoint{sa.remote, 61000}));
  EXPECT_EQ(move->local_port, 4500);
  EXPECT_TRUE(move->udp_encapsulation);
  xcf::v1::UpdateSa bad = update_to_message(sa);
  bad.set_remote_port(65536);
  EXPECT_FALSE(update_from_message(bad));
  bad = update_to_message(sa);
  bad.clear_remote();
  EXPECT_FALSE(update_from_message(bad));
}

TEST(SaMessage, SurvivesTheWayThereAndBack) {
  const auto sa = sa_from_message(valid_sa());
  ASSERT_TRUE(sa) << sa.error().message;
  EXPECT_EQ(sa_to_message(*sa).SerializeAsString(), valid_sa().SerializeAsString());
}

struct SaCase {
  const char* what;
  std::function<void(xcf::v1::Sa&)> spoil;
  const char* says;
};

TEST(SaMessage, EveryFieldIsChecked) {
  const SaCase cases[] = {
      {"id", [](auto& m) { m.set_id(0); }, "without an id"},
      {"spi", [](auto& m) { m.set_spi(255); }, "SPI 255 is reserved"},
      {"local", [](auto& m) { m.clear_local(); }, "local address is missing"},
      {"remote", [](auto& m) { m.clear_remote(); }, "remote address is missing"},
      {"remote of 5 bytes", [](auto& m) { m.set_remote("12345"); }, "remote address: an IP address of 5 bytes"},
      {"remote, multicast", [](auto& m) { m.set_remote(IpAddress(0xe0000001).to_bytes()); },
       "not that of one host"},
      {"protocol", [](auto& m) { m.set_protocol(17); }, "neither ESP (50) nor AH (51)"},
      {"AH encapsulated", [](auto& m) { m.set_protocol(51); }, "AH has no UDP encapsulation"},
      {"AH with ESP's suite",
       [](auto& m) {
         m.set_protocol(51);
         m.set_udp_encapsulation(false);
       },
       "is no suite of AH"},
      {"ESP in ESP", [](auto& m) { m.mutable_inner_esp()->set_spi(1000); }, "an inner ESP goes with AH only"},
      {"inner SPI",
       [](auto& m) {
         m = ah_over_esp();
         m.mutable_inner_esp()->set_spi(255);
       },
       "inner SPI 255 is reserved"},
      {"inner key",
       [](auto& m) {
         m = ah_over_esp();
         m.mutable_inner_esp()->set_key("short");
       },
       "key has 5 bytes; AES-GCM-128 needs 20"},
      {"inner ESN",
       [](auto& m) {
         m = ah_over_esp();
         m.set_esn(true);
       },
       "no extended sequence numbers"},
      {"families", [](auto& m) { m.set_remote(std::string(15, '\x20') + "1"); }, "are of two families"},
      {"local port", [](auto& m) { m.set_local_port(65536); }, "port 65536"},
      {"remote port", [](auto& m) { m.set_remote_port(0); }, "port 0"},
      {"suite", [](auto& m) { m.set_suite(99); }, "suite 99 is unknown"},
      {"key", [](auto& m) { m.set_key("short"); }, "key has 5 bytes; AES-GCM-256 needs 36"},
      {"no tunnel", [](auto& m) { m.set_tunnel(""); }, "tunnel name"},
      {"long tunnel", [](auto& m) { m.set_tunnel(std::string(257, 'x')); }, "tunnel name"},
      {"window", [](auto& m) { m.set_replay_window(65537); }, "replay window"},
  };
  for (const SaCase& c : cases) {
    xcf::v1::Sa m = valid_sa();
    c.spoil(m);
    const auto sa = sa_from_message(m);
    ASSERT_FALSE(sa) << c.what;
    EXPECT_THAT(sa.error().message, HasSubstr(c.says)) << c.what;
    EXPECT_THAT(sa.error().message, testing::Not(HasSubstr("kkkk"))) << "a key in an error";
  }
}

TEST(SaMessage, InstallsAreChecked) {
  xcf::v1::Install install;
  install.set_dvipa(IpAddress(0xc0000264).to_bytes());
  EXPECT_FALSE(check_install(install));  // no epoch
  install.set_epoch(5);
  EXPECT_TRUE(check_install(install));
  *install.add_sas() = valid_sa();
  *install.add_filters() = valid_filter();
  EXPECT_TRUE(check_install(install));
  install.mutable_filters(0)->set_id(0);
  EXPECT_FALSE(check_install(install));
  install.mutable_filters(0)->set_id(1);
  install.mutable_sas(0)->set_local(IpAddress(0xc0000265).to_bytes());
  EXPECT_THAT(check_install(install).error().message, HasSubstr("is not the DVIPA"));
}

TEST(SaMessage, ScrubTakesTheKeysOut) {
  xcf::v1::Install install;
  *install.add_sas() = valid_sa();
  scrub(install);
  EXPECT_TRUE(install.sas(0).key().empty());
}

}  // namespace
}  // namespace testudo::ike
