// SPDX-License-Identifier: Apache-2.0
#include "xcf/hello_check.h"

#include <algorithm>

#include "base/secret.h"
#include "xcf/address_field.h"

namespace testudo::xcf {
namespace {

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "'" : ", '") + name + "'";
  return text.empty() ? "no name" : text;
}

}  // namespace

std::optional<std::string> reason_to_refuse(const v1::Hello& self, const v1::Hello& peer,
                                            const std::vector<std::string>& names, const std::string& dialled) {
  if (peer.node().empty()) return "a peer gave no node name in its Hello";
  if (std::find(names.begin(), names.end(), peer.node()) == names.end()) {
    return "a peer calls itself '" + peer.node() + "' but its certificate is for " + listed(names) +
           ": give each node its own certificate";
  }
  if (!dialled.empty() && peer.node() != dialled) {
    return "at the address of node " + dialled + " answers node " + peer.node() +
           ": correct the address of one of them";
  }
  if (peer.node() == self.node()) {
    return "another node calls itself " + self.node() + " too: node names must be unique";
  }
  if (peer.cluster() != self.cluster()) {
    return "node " + peer.node() + " is of cluster '" + peer.cluster() + "', this node is of '" + self.cluster() +
           "': correct the cluster name of one of them";
  }
  if (peer.version() != self.version()) {
    const std::string& older = peer.version() < self.version() ? peer.node() : self.node();
    return "node " + peer.node() + " speaks protocol version " + std::to_string(peer.version()) + ", this node (" +
           self.node() + ") speaks " + std::to_string(self.version()) + ": upgrade node " + older;
  }
  if (!peer.xcf_address().empty()) {
    if (const auto address = host_address(peer.xcf_address(), "XCF"); !address)
      return "node " + peer.node() + ": " + address.error().message;
  }
  return std::nullopt;
}

void zero_keys(v1::Envelope& message) {
  if (!message.has_install()) return;
  const auto wipe = [](std::string& key) { zero({reinterpret_cast<std::uint8_t*>(key.data()), key.size()}); };
  for (v1::Sa& sa : *message.mutable_install()->mutable_sas()) {
    wipe(*sa.mutable_key());
    if (sa.has_inner_esp()) wipe(*sa.mutable_inner_esp()->mutable_key());
  }
}

}  // namespace testudo::xcf
