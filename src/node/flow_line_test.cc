// SPDX-License-Identifier: Apache-2.0
#include "node/flow_line.h"

#include <gtest/gtest.h>

namespace testudo::node {
namespace {

TEST(FlowLine, ByTable) {
  policy::FlowRecord r;
  r.flow = {IpAddress(0xc6336407), IpAddress(0xc0000264), 6, true, 40312, 80};
  r.rule = {.priority = 5, .id = 7, .dvipa = IpAddress(0xc0000264)};
  r.action = policy::Action::kPermit;
  EXPECT_EQ(flow_line(r), "filter 7 of 192.0.2.100, permit: in tcp 198.51.100.7:40312 > 192.0.2.100:80 begins");
  r.what = policy::FlowRecord::What::kEnds;
  r.packets = 3, r.bytes = 1120;
  EXPECT_EQ(flow_line(r), "in tcp 198.51.100.7:40312 > 192.0.2.100:80 ends: 3 packets, 1120 bytes");
  r.what = policy::FlowRecord::What::kDropped;
  r.direction = policy::Direction::kOutbound;
  r.action = policy::Action::kDeny;
  r.drop = Drop::kFilterDenied;
  r.left_out = 12;
  r.flow = {*IpAddress::parse("2001:db8::64"), *IpAddress::parse("2001:db8::1"), 58, true, 0x8001, 0x8001};
  EXPECT_EQ(flow_line(r),
            "filter 7 of 192.0.2.100, deny: out icmpv6 128/1 2001:db8::64 > 2001:db8::1 dropped: filter_denied (12 "
            "lines before this one were left out)");
  r.left_out = 0;
  r.flow = {IpAddress(1), IpAddress(2), 47, false, 0, 0};
  EXPECT_EQ(flow_line(r), "filter 7 of 192.0.2.100, deny: out gre 0.0.0.1 > 0.0.0.2 dropped: filter_denied");
}

}  // namespace
}  // namespace testudo::node
