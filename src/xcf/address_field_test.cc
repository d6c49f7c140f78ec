// SPDX-License-Identifier: Apache-2.0
#include "xcf/address_field.h"

#include <gtest/gtest.h>

namespace testudo::xcf {
namespace {

TEST(AddressField, BothFamiliesTravelAndWhatIsNoHostIsNamed) {
  for (const char* text : {"192.0.2.1", "2001:db8::1", "fe80::1"}) {
    const IpAddress address = *IpAddress::parse(text);
    EXPECT_EQ(address_of(address.to_bytes()), address);
    EXPECT_EQ(host_address(address.to_bytes(), "local").value(), address);
  }
  struct Row {
    std::string field;
    std::string reason;
  };
  const std::string mapped("\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\1", 16);
  for (const Row& row : {
           Row{"", "local address is missing"},
           Row{"abc", "local address: an IP address of 3 bytes: it has 4 or 16"},
           Row{std::string(17, 'a'), "local address: an IP address of 17 bytes: it has 4 or 16"},
           Row{mapped, "local address: an IPv6 address that is v4-mapped"},
           Row{std::string(4, '\0'), "local address 0.0.0.0 is not that of one host"},
           Row{std::string(16, '\0'), "local address :: is not that of one host"},
           Row{IpAddress(0xe0000001).to_bytes(), "local address 224.0.0.1 is not that of one host"},
       }) {
    EXPECT_EQ(host_address(row.field, "local").error().message, row.reason);
  }
  EXPECT_TRUE(address_of(mapped).is_unspecified());
  EXPECT_TRUE(address_of("abc").is_unspecified());
}

}  // namespace
}  // namespace testudo::xcf
