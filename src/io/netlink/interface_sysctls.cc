// SPDX-License-Identifier: Apache-2.0
#include "io/netlink/interface_sysctls.h"

#include <algorithm>
#include <fstream>

namespace testudo::io {
namespace {

std::string path(const std::string& interface, const std::string& name) {
  return "/proc/sys/net/ipv4/conf/" + interface + "/" + name;
}

Result<int> read(const std::string& interface, const std::string& name) {
  std::ifstream file(path(interface, name));
  int value = 0;
  if (!(file >> value)) return fail("cannot read " + path(interface, name) + "; does the interface exist?");
  return value;
}

Result<void> write(const std::string& interface, const std::string& name, int value) {
  std::ofstream file(path(interface, name));
  if (!(file << value << std::flush)) {
    return fail("cannot write " + std::to_string(value) + " to " + path(interface, name) +
                "; CAP_NET_ADMIN and a writable /proc/sys are needed");
  }
  return {};
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

Result<void> loosen_reverse_path_filter(const std::string& interface) {
  const auto now = effective(interface, "rp_filter");
  if (!now) return tl::unexpected(now.error());
  return *now == 1 ? write(interface, "rp_filter", 2) : Result<void>{};
}

}  // namespace testudo::io
