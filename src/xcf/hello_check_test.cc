// SPDX-License-Identifier: Apache-2.0
#include "xcf/hello_check.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace testudo::xcf {
namespace {

v1::Hello hello(const std::string& node, const std::string& cluster, std::uint32_t version) {
  v1::Hello made;
  made.set_node(node);
  made.set_cluster(cluster);
  made.set_version(version);
  return made;
}

TEST(HelloCheck, TruthTable) {
  struct Row {
    v1::Hello peer;
    std::vector<std::string> names;
    std::string dialled;
    std::string reason;  // a part of it; empty: welcome
  };
  const v1::Hello self = hello("t1", "c1", 1);
  const std::vector<Row> rows = {
      {hello("t9", "c1", 1), {"t9"}, "", ""},
      {hello("t9", "c1", 1), {"other", "t9"}, "t9", ""},
      {hello("t9", "c1", 1), {}, "", "its certificate is for no name"},
      {hello("t9", "c1", 1), {"t8"}, "", "its certificate is for 't8'"},
      {hello("t9", "c1", 1), {"t9"}, "t8", "at the address of node t8 answers node t9"},
      {hello("", "c1", 1), {""}, "", "no node name"},
      {hello("t1", "c1", 1), {"t1"}, "", "node names must be unique"},
      {hello("t9", "c2", 1), {"t9"}, "", "is of cluster 'c2', this node is of 'c1'"},
      {hello("t9", "c1", 2), {"t9"}, "", "upgrade node t1"},
      {hello("t9", "c1", 0), {"t9"}, "", "upgrade node t9"},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.peer.ShortDebugString() + " dialled " + row.dialled);
    const auto reason = reason_to_refuse(self, row.peer, row.names, row.dialled);
    EXPECT_EQ(reason.has_value(), !row.reason.empty());
    if (reason) {
      EXPECT_NE(reason->find(row.reason), std::string::npos) << *reason;
    }
  }
}

TEST(ZeroKeys, ZeroesEveryKeyOfAnInstallAndNothingElse) {
  v1::Envelope message;
  for (const char* key : {"one", "a key of another length"}) {
    v1::Sa* sa = message.mutable_install()->add_sas();
    sa->set_key(key);
    sa->set_tunnel("tunnel");
  }
  zero_keys(message);
  for (const v1::Sa& sa : message.install().sas()) {
    EXPECT_EQ(sa.key(), std::string(sa.key().size(), '\0'));
    EXPECT_EQ(sa.tunnel(), "tunnel");
  }
  EXPECT_EQ(message.install().sas(0).key().size(), 3U);
  v1::Envelope other;
  zero_keys(other);
  EXPECT_EQ(other.message_case(), v1::Envelope::MESSAGE_NOT_SET);
}

}  // namespace
}  // namespace testudo::xcf
