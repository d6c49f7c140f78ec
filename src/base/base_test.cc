// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <thread>

#include "base/address.h"
#include "base/bounded_queue.h"
#include "base/byte_order.h"
#include "base/rng.h"
#include "base/secret.h"

namespace testudo {
namespace {

TEST(Address, ParsesAndPrints) {
  EXPECT_EQ(IpAddress::parse("192.0.2.1")->v4(), 0xc0000201u);
  EXPECT_EQ(IpAddress(0xc0000201).to_string(), "192.0.2.1");
  EXPECT_FALSE(IpAddress::parse("192.0.2"));
  EXPECT_FALSE(IpAddress::parse("192.0.2.256"));
  EXPECT_FALSE(IpAddress::parse(std::string_view("192.0.2.1\0.example", 18)));
  EXPECT_EQ(Endpoint::parse("192.0.2.1:4500")->to_string(), "192.0.2.1:4500");
  EXPECT_FALSE(Endpoint::parse("192.0.2.1"));
  EXPECT_FALSE(Endpoint::parse("192.0.2.1:65536"));
}

TEST(Address, ParsesAndPrintsIpv6) {
  EXPECT_EQ(IpAddress::parse("2001:db8:0::1")->to_string(), "2001:db8::1");
  EXPECT_TRUE(IpAddress::parse("::")->is_v6());
  EXPECT_TRUE(IpAddress::parse("::")->is_unspecified());
  EXPECT_FALSE(IpAddress::parse("::ffff:192.0.2.1"));  // two ways to write one address
  EXPECT_FALSE(IpAddress::parse("fe80::1%eth0"));
  EXPECT_EQ(Endpoint::parse("[2001:db8::1]:4500")->to_string(), "[2001:db8::1]:4500");
  EXPECT_FALSE(Endpoint::parse("2001:db8::1:4500"));
  EXPECT_FALSE(Endpoint::parse("[192.0.2.1]:4500"));
}

TEST(Address, TravelsAsBytes) {
  for (const char* text : {"192.0.2.1", "0.0.0.0", "2001:db8::1", "::1"}) {
    const IpAddress address = *IpAddress::parse(text);
    EXPECT_EQ(address.to_bytes().size(), address.bits() / 8u);
    EXPECT_EQ(*IpAddress::from_bytes(address.to_bytes()), address);
  }
  EXPECT_FALSE(IpAddress::from_bytes("abc"));
  const auto mapped = IpAddress(0xc0000201).bytes();
  EXPECT_FALSE(IpAddress::from_bytes({reinterpret_cast<const char*>(mapped.data()), mapped.size()}));
}

TEST(Prefix, OfIpv6ContainsItsAddressesOnly) {
  const auto prefix = *IpPrefix::parse("2001:db8:0:4000::/50");
  EXPECT_TRUE(prefix.contains(*IpAddress::parse("2001:db8:0:7fff:ffff:ffff:ffff:ffff")));
  EXPECT_FALSE(prefix.contains(*IpAddress::parse("2001:db8:0:8000::")));
  EXPECT_EQ(prefix.last(), *IpAddress::parse("2001:db8:0:7fff:ffff:ffff:ffff:ffff"));
  EXPECT_EQ(IpPrefix::parse("192.0.2.0/24")->last(), IpAddress(0xc00002ff));
  EXPECT_FALSE(IpPrefix::parse("::/0")->contains(IpAddress(0xc0000201)));  // another family
  EXPECT_FALSE(IpPrefix::parse("0.0.0.0/0")->contains(*IpAddress::parse("2001:db8::1")));
  EXPECT_TRUE(IpPrefix::parse("::/0")->contains(*IpAddress::parse("2001:db8::1")));
  EXPECT_FALSE(IpPrefix::parse("2001:db8::/129"));
  EXPECT_FALSE(IpPrefix::parse("2001:db8::1/64"));
  EXPECT_FALSE(IpPrefix::parse("::/80"));  // ends among the IPv4-mapped addresses
  EXPECT_FALSE(IpPrefix::parse("::8000:0:0/81"));
  EXPECT_TRUE(IpPrefix::parse("::/79"));
}

TEST(Prefix, ContainsItsAddressesOnly) {
  const auto prefix = *IpPrefix::parse("192.0.2.0/24");
  EXPECT_TRUE(prefix.contains(*IpAddress::parse("192.0.2.255")));
  EXPECT_FALSE(prefix.contains(*IpAddress::parse("192.0.3.0")));
  EXPECT_TRUE(IpPrefix::parse("0.0.0.0/0")->contains(IpAddress(0xffffffff)));
  EXPECT_EQ(IpPrefix::parse("192.0.2.1")->length, 32);
}

TEST(Prefix, RefusesHostBitsAndSaysTheNetwork) {
  const auto prefix = IpPrefix::parse("192.0.2.7/24");
  ASSERT_FALSE(prefix);
  EXPECT_NE(prefix.error().message.find("192.0.2.0/24"), std::string::npos);
}

TEST(Be, IsBigEndianInMemory) {
  const Be<std::uint32_t> value(0x01020304);
  EXPECT_EQ(reinterpret_cast<const std::uint8_t*>(&value)[0], 1);
  EXPECT_EQ(value.host(), 0x01020304u);
}

TEST(Secret, ZeroesItsMemoryWhenItGoes) {
  const std::array<std::uint8_t, 4> key = {1, 2, 3, 4};
  const std::uint8_t* where = nullptr;
  {
    const Secret secret{std::span<const std::uint8_t>(key)};
    where = secret.bytes().data();
    EXPECT_EQ(where[3], 4);
  }
  EXPECT_EQ(where[3], 0);  // the pool keeps the page, so it can still be read
}

TEST(Secret, ComparesContent) {
  const std::array<std::uint8_t, 2> a = {1, 2};
  const std::array<std::uint8_t, 2> b = {1, 3};
  const Secret first{std::span<const std::uint8_t>(a)};
  Secret copy = first;
  EXPECT_TRUE(first.equals(copy));
  EXPECT_FALSE(first.equals(Secret{std::span<const std::uint8_t>(b)}));
  EXPECT_FALSE(first.equals(Secret()));
}

TEST(BoundedQueue, RefusesWhenFull) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.push(1));
  EXPECT_TRUE(queue.push(2));
  EXPECT_FALSE(queue.push(3));
  int value = 0;
  EXPECT_TRUE(queue.pop(value));
  EXPECT_EQ(value, 1);
  EXPECT_TRUE(queue.push(3));
  EXPECT_TRUE(queue.pop(value));
  EXPECT_EQ(value, 2);
  EXPECT_TRUE(queue.pop(value));
  EXPECT_EQ(value, 3);
  EXPECT_FALSE(queue.pop(value));
}

TEST(BoundedQueue, KeepsOrderAcrossThreads) {
  BoundedQueue<int> queue(64);
  constexpr int kCount = 100'000;
  std::thread producer([&] {
    for (int i = 0; i < kCount;) {
      if (queue.push(i))
        ++i;
      else
        std::this_thread::yield();
    }
  });
  int next = 0;
  while (next < kCount) {
    int value = 0;
    if (queue.pop(value)) {
      ASSERT_EQ(value, next);
      ++next;
    } else {
      std::this_thread::yield();
    }
  }
  producer.join();
}

TEST(SeededRng, IsReproducible) {
  SeededRng a(7);
  SeededRng b(7);
  SeededRng c(8);
  const auto first = a.next();
  EXPECT_EQ(first, b.next());
  EXPECT_NE(first, c.next());
}

}  // namespace
}  // namespace testudo
