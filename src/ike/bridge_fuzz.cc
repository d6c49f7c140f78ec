// SPDX-License-Identifier: Apache-2.0
// The bridge's parser and translation on arbitrary messages: input is a list of messages, each with a 16-bit length
// (least significant byte first) in front. What reaches the node must be valid.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/check.h"
#include "ike/agreement.h"
#include "ike/bridge_protocol.h"
#include "ike/filter_message.h"
#include "ike/sa_message.h"

namespace testudo::ike {
namespace {

class Sink final : public IkeEvents {
 public:
  void ike_connected(const std::string&, bool) override {}
  void ike_disconnected(const std::string&) override {}
  Result<void> ike_configuration(const std::vector<ChildConfiguration>& children) override {
    for (const Objection& o : objections(children, {})) CHECK(!o.text.empty());
    return {};
  }
  Result<Spi> allocate_spi(IpAddress, IpAddress) override { return Spi(256); }
  Result<void> add_sa(ipsec::SaParameters sa) override {
    sa.id = SaId(1);
    CHECK(sa_from_message(sa_to_message(sa)).has_value());
    return {};
  }
  Result<void> update_sa(SaName, const SaPath&) override { return {}; }
  Result<SaUse> query_sa(SaName) override { return SaUse{}; }
  Result<void> delete_sa(SaName) override { return {}; }
  void flush_sas() override {}
  Result<void> add_policy(const Policy& policy) override {
    CHECK(!policy.filters.empty() && policy.filters.size() <= 64);
    for (const auto& filter : policy.filters)
      CHECK(filter_from_message(filter).has_value() && filter.priority() < 1'000'000);
    return {};
  }
  Result<void> delete_policy(const Policy& policy) override { return add_policy(policy); }
  void flush_policies() override {}
  void send_ike(Endpoint, Endpoint, std::span<const std::uint8_t> payload) override {
    CHECK(!payload.empty() && payload.size() <= kIkePayloadMax);
  }
  void ike_warning(const std::string&) override {}
};

}  // namespace
}  // namespace testudo::ike

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  testudo::ike::Sink sink;
  testudo::ike::BridgeProtocol protocol(sink, 1);
  while (size >= 2) {
    const std::size_t length = std::min<std::size_t>(data[0] | data[1] << 8, size - 2);
    std::vector<std::uint8_t> message(data + 2, data + 2 + length);
    if (!protocol.handle(message)) break;
    data += 2 + length;
    size -= 2 + length;
  }
  return 0;
}
