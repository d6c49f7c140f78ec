// SPDX-License-Identifier: Apache-2.0
#include "vipa/definition_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/check.h"

namespace testudo::vipa::definition {
namespace {

constexpr const char* kDefineName = "VIPADEFINE";
constexpr const char* kBackupName = "VIPABACKUP";
constexpr const char* kDistributeName = "VIPADISTRIBUTE";

/// What the first or last address of a subnet is, if that is none of a host; empty: the address is a host's. A /31,
/// a /127 and single addresses have no such (RFC 3021, RFC 6164).
std::string_view edge_of_subnet(const Define& d) {
  if (d.subnet.length + 1 >= d.address.bits()) return "";
  if (d.address == d.subnet.first()) return d.address.is_v4() ? "network address" : "subnet-router anycast address";
  return d.address.is_v4() && d.address == d.subnet.last() ? "broadcast address" : "";
}

}  // namespace

IpPrefix subnet_of(IpAddress address, std::uint8_t length) {
  CHECK(length >= 1 && length <= address.bits());
  return {address.masked(length), length};
}

void Rules::error(Position at, std::string subject, std::string message) {
  out_.errors.push_back({file_, at.line, at.column, std::move(subject), std::move(message)});
}

bool Rules::already_there(IpAddress address, Position at, const std::string& statement) {
  if (const Define* d = out_.definition.find_define(address)) {
    error(at, statement,
          statement == kDefineName
              ? fmt::format("{} is already defined on line {}: define it once", address.to_string(), d->at.line)
              : fmt::format("this node defines {} itself on line {}: a backup is another node", address.to_string(),
                            d->at.line));
    return true;
  }
  if (const Backup* b = out_.definition.find_backup(address)) {
    error(at, statement,
          statement == kBackupName
              ? fmt::format("{} already has a rank on line {}: give it one", address.to_string(), b->at.line)
              : fmt::format("{} is backed up by this node on line {}: its VIPADEFINE belongs on another node",
                            address.to_string(), b->at.line));
    return true;
  }
  return false;
}

void Rules::define(const Define& d, std::optional<IpPrefix>& subnet) {
  if (already_there(d.address, d.at, kDefineName)) return;
  if (subnet && d.subnet != *subnet) {
    return error(d.at, kDefineName,
                 fmt::format("{} is outside {}, the subnet of this statement's first address: addresses of another "
                             "subnet take a VIPADEFINE of their own",
                             d.address.to_string(), subnet->to_string()));
  }
  if (const std::string_view edge = edge_of_subnet(d); !edge.empty()) {
    return error(d.at, kDefineName,
                 fmt::format("{} is the {} of {}: a DVIPA is a host's address", d.address.to_string(), edge,
                             d.subnet.to_string()));
  }
  subnet = d.subnet;
  out_.definition.defines.push_back(d);
}

void Rules::backup(const Backup& b) {
  if (!already_there(b.address, b.at, kBackupName)) out_.definition.backups.push_back(b);
}

bool Rules::ports_clash(const Distribute& d) {
  std::size_t ports = d.ports.size();
  for (const Distribute& other : out_.definition.distributes) {
    if (other.address != d.address) continue;
    if (other.all_ports() || d.all_ports()) {
      error(d.at, kDistributeName,
            other.all_ports()
                ? fmt::format("line {} distributes all ports of {} already", other.at.line, d.address.to_string())
                : fmt::format("without PORT this is all ports of {}, but line {} distributes some of them already",
                              d.address.to_string(), other.at.line));
      return true;
    }
    for (const std::uint16_t port : d.ports) {
      if (!std::binary_search(other.ports.begin(), other.ports.end(), port)) continue;
      error(d.at, kDistributeName,
            fmt::format("port {} of {} is distributed already on line {}: name it once", port,
                        d.address.to_string(), other.at.line));
      return true;
    }
    ports += other.ports.size();
  }
  if (ports <= kPortsMax) return false;
  error(d.at, kDistributeName,
        fmt::format("{} distributed ports of {} are too many: a DVIPA can have {}, or all by leaving PORT out",
                    ports, d.address.to_string(), kPortsMax));
  return true;
}

void Rules::distribute(const Distribute& d) {
  const Definition& so_far = out_.definition;
  const bool known = so_far.find_define(d.address) || so_far.find_backup(d.address);
  if (!known && !mentioned_.contains(d.address)) {
    return error(
        d.at, kDistributeName,
        fmt::format("{} is not defined: a VIPADEFINE or VIPABACKUP of it stands before", d.address.to_string()));
  }
  if (!ports_clash(d)) out_.definition.distributes.push_back(d);
}

void Rules::undistribute(const Distribute& what) {
  std::vector<Distribute>& all = out_.definition.distributes;
  std::vector<std::uint16_t> missing = what.ports;
  bool found = false;
  for (Distribute& d : all) {
    if (d.address != what.address || (d.all_ports() && !what.all_ports())) continue;
    std::erase_if(missing, [&](std::uint16_t p) { return std::binary_search(d.ports.begin(), d.ports.end(), p); });
    const std::size_t before = d.ports.size();
    std::erase_if(d.ports,
                  [&](std::uint16_t p) { return std::binary_search(what.ports.begin(), what.ports.end(), p); });
    const bool emptied = what.all_ports() || (before > 0 && d.ports.empty());
    found = found || emptied || d.ports.size() < before;
    if (emptied) d.address = IpAddress();  // marks it for removal below
  }
  std::erase_if(all, [](const Distribute& d) { return d.address.is_unspecified(); });
  if (mentioned_distributed_.contains(what.address)) return;
  if (!found || !missing.empty()) {
    const std::string port = missing.empty() ? "" : fmt::format("port {} of ", missing.front());
    error(what.at, kDistributeName,
          fmt::format("DELETE: {}{} is not distributed: a VIPADISTRIBUTE of it stands before", port,
                      what.address.to_string()));
  }
}

void Rules::range(const Range& r) {
  for (const Range& other : out_.definition.ranges) {
    if (!other.prefix.contains(r.prefix.address) && !r.prefix.contains(other.prefix.address)) continue;
    return error(r.at, "VIPARANGE",
                 fmt::format("{} overlaps {} of line {}: ranges are apart from each other", r.prefix.to_string(),
                             other.prefix.to_string(), other.at.line));
  }
  out_.definition.ranges.push_back(r);
}

void Rules::remove(IpAddress address, Position at) {
  Definition& d = out_.definition;
  const auto same = [&](const auto& statement) { return statement.address == address; };
  const std::size_t removed = std::erase_if(d.defines, same) + std::erase_if(d.backups, same);
  std::erase_if(d.distributes, same);
  if (removed == 0 && !mentioned_.contains(address)) {
    error(at, "VIPADELETE",
          fmt::format("{} is not defined: a VIPADEFINE or VIPABACKUP of it stands before", address.to_string()));
  }
  mentioned_.erase(address);
}

ParsedDefinition Rules::finish() {
  for (const Distribute& d : out_.definition.distributes) {
    for (const IpAddress target : d.targets) {
      if (!out_.definition.find_define(target) && !out_.definition.find_backup(target)) continue;
      error(d.at, kDistributeName,
            fmt::format("DESTIP {} is a DVIPA: targets are named by their XCF addresses", target.to_string()));
    }
  }
  std::stable_sort(out_.errors.begin(), out_.errors.end(), [](const Diagnostic& a, const Diagnostic& b) {
    return std::tie(a.line, a.column) < std::tie(b.line, b.column);
  });
  return std::move(out_);
}

}  // namespace testudo::vipa::definition
