// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/firewall.h"

#include <nftables/libnftables.h>

#include <memory>

namespace testudo::io {
namespace {

// The first line makes the second one valid when there is no table yet; one buffer is one transaction.
constexpr const char* kRemove = "add table inet testudo\ndelete table inet testudo\n";

struct Free {
  void operator()(nft_ctx* c) const { nft_ctx_free(c); }
};

Result<void> run(const std::string& commands) {
  const std::unique_ptr<nft_ctx, Free> context(nft_ctx_new(NFT_CTX_DEFAULT));
  if (context == nullptr) return fail("no memory for nftables");
  nft_ctx_buffer_output(context.get());
  nft_ctx_buffer_error(context.get());
  if (nft_run_cmd_from_buffer(context.get(), commands.c_str()) != 0) {
    return fail(std::string("nftables refuses table inet testudo; CAP_NET_ADMIN and nf_tables are needed: ") +
                nft_ctx_get_error_buffer(context.get()));
  }
  return {};
}

std::string set_of(const std::string& name, const Steering& wanted, bool v4, bool owned_only) {
  std::string elements;
  for (const SteeredDvipa& d : wanted.dvipas) {
    if (d.address.is_v4() != v4 || (owned_only && !d.owned)) continue;
    elements += (elements.empty() ? "" : ", ") + d.address.to_string();
  }
  const std::string list = elements.empty() ? "" : " elements = { " + elements + " }";
  return "  set " + name + (v4 ? "4 { type ipv4_addr;" : "6 { type ipv6_addr;") + list + "\n  }\n";
}

std::string sets_of(const Steering& wanted) {
  std::string sets;
  for (const bool v4 : {true, false})
    sets += set_of("dvipas", wanted, v4, false) + set_of("owned", wanted, v4, true);
  return sets;
}

}  // namespace

std::string firewall_rules(const Steering& wanted) {
  const std::string network = "iifname \"" + wanted.network + "\" ";
  const std::string owned4 = "    ip daddr @owned4 " + network, owned6 = "    ip6 daddr @owned6 " + network;
  std::string t = kRemove;
  t += "table inet testudo {\n" + sets_of(wanted);
  t += "  chain prerouting {\n    type filter hook prerouting priority raw; policy accept;\n";
  t += "    iifname { \"lo\", \"" + wanted.tun + "\" } accept\n";
  // Later fragments name no port. They do no harm: without an accepted first fragment nothing comes of them.
  t += owned4 + "ip protocol udp ip frag-off & 0x1fff != 0 accept\n";
  t += owned4 + "udp dport { 500, 4500 } accept\n";
  t += owned6 + "meta l4proto udp frag frag-off != 0 accept\n";
  t += owned6 + "udp dport { 500, 4500 } accept\n";
  // Neighbours ask whether the address is still there (RFC 4861 section 7.3), and answer when it asks.
  t += owned6 + "ip6 hoplimit 255 icmpv6 type { 133, 134, 135, 136, 137 } accept\n";
  t += "    ip daddr @dvipas4 counter drop\n    ip6 daddr @dvipas6 counter drop\n  }\n}\n";
  return t;
}

Result<void> set_firewall(const Steering& wanted) {
  for (const std::string& name : {wanted.network, wanted.tun}) {
    if (name.empty() || name.find_first_of("\"\\\n") != std::string::npos) {
      return fail("\"" + name + "\" cannot be the name of a network interface");
    }
  }
  return run(firewall_rules(wanted));
}

Result<void> remove_firewall() { return run(kRemove); }

}  // namespace testudo::io
