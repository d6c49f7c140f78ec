// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/interface_sysctls.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <utility>

namespace testudo::io {
namespace {

std::string path(const std::string& interface, const std::string& name) {
  return "/proc/sys/net/ipv4/conf/" + interface + "/" + name;
}

std::string path6(const std::string& interface, const std::string& name) {
  return "/proc/sys/net/ipv6/conf/" + interface + "/" + name;
}

Result<int> read(const std::string& interface, const std::string& name) {
  std::ifstream file(path(interface, name));
  int value = 0;
  if (!(file >> value)) return fail("cannot read " + path(interface, name) + "; does the interface exist?");
  return value;
}

Result<void> write_to(const std::string& path, int value) {
  std::ofstream file(path);
  if (!(file << value << std::flush)) {
    return fail("cannot write " + std::to_string(value) + " to " + path +
                "; CAP_NET_ADMIN and a writable /proc/sys are needed");
  }
  return {};
}

Result<void> write(const std::string& interface, const std::string& name, int value) {
  return write_to(path(interface, name), value);
}

/// For all of these sysctls the kernel takes the larger of the interface's value and that for "all".
Result<int> effective(const std::string& interface, const std::string& name) {
  const auto own = read(interface, name);
  if (!own) return own;
  const auto all = read("all", name);
  if (!all) return all;
  return std::max(*own, *all);
}

Result<void> at_least(const std::string& interface, const std::string& name, int value) {
  const auto now = effective(interface, name);
  if (!now) return tl::unexpected(now.error());
  return *now >= value ? Result<void>{} : write(interface, name, value);
}

}  // namespace

Result<void> keep_arp_local(const std::string& interface) {
  if (auto done = at_least(interface, "arp_ignore", 1); !done) return done;
  return at_least(interface, "arp_announce", 2);
}

bool has_ipv6() { return std::filesystem::exists("/proc/sys/net/ipv6"); }

Result<void> keep_ipv6_quiet(const std::string& interface) {
  if (!has_ipv6()) return {};
  constexpr int kNone = 1;  // addr_gen_mode
  for (const auto& [name, value] : {std::pair{"addr_gen_mode", kNone}, {"accept_ra", 0}, {"accept_dad", 0}}) {
    if (auto done = write_to(path6(interface, name), value); !done) return done;
  }
  return {};
}

Result<void> allow_ipv6(const std::string& interface) {
  if (has_ipv6()) return write_to(path6(interface, "disable_ipv6"), 0);
  return fail("a DVIPA is an IPv6 address, but this kernel has no IPv6 (boot option ipv6.disable?)");
}

Result<void> loosen_reverse_path_filter(const std::string& interface) {
  const auto now = effective(interface, "rp_filter");
  if (!now) return tl::unexpected(now.error());
  return *now == 1 ? write(interface, "rp_filter", 2) : Result<void>{};
}

}  // namespace testudo::io
