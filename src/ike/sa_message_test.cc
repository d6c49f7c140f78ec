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
