// SPDX-License-Identifier: Apache-2.0
#include "node/flow_line.h"

#include <fmt/format.h>

#include "ike/filter_message.h"

namespace testudo::node {
namespace {

using What = policy::FlowRecord::What;

const char* action_name(policy::Action action) {
  switch (action) {
    case policy::Action::kDeny:
      return "deny";
    case policy::Action::kPermit:
      return "permit";
    case policy::Action::kProtect:
      break;
  }
  return "protect";
}

std::string flow_text(const policy::Flow& f) {
  const std::string protocol = ike::protocol_name(f.protocol);
  if (!f.has_ports) return fmt::format("{} {} > {}", protocol, f.source.to_string(), f.destination.to_string());
  if (f.protocol == wire::kProtocolIcmp || f.protocol == wire::kProtocolIcmpv6) {
    return fmt::format("{} {}/{} {} > {}", protocol, f.source_port >> 8, f.source_port & 255, f.source.to_string(),
                       f.destination.to_string());
  }
  return fmt::format("{} {} > {}", protocol, Endpoint{f.source, f.source_port}.to_string(),
                     Endpoint{f.destination, f.destination_port}.to_string());
}

std::string what_happened(const policy::FlowRecord& r) {
  if (r.what == What::kBegins) return "begins";
  if (r.what == What::kDropped) return fmt::format("dropped: {}", kDropNames[static_cast<std::size_t>(r.drop)]);
  return fmt::format("ends: {} packets, {} bytes", r.packets, r.bytes);
}

}  // namespace

std::string flow_line(const policy::FlowRecord& r) {
  std::string line;
  if (r.what != What::kEnds)
    line = fmt::format("filter {} of {}, {}: ", r.rule.id, r.rule.dvipa.to_string(), action_name(r.action));
  line += fmt::format("{} {} {}", r.direction == policy::Direction::kOutbound ? "out" : "in", flow_text(r.flow),
                      what_happened(r));
  if (r.left_out != 0) line += fmt::format(" ({} lines before this one were left out)", r.left_out);
  return line;
}

}  // namespace testudo::node
