// SPDX-License-Identifier: Apache-2.0
// Report: a node's answers to `testudo status`, `sa`, `connections`, `counters` and
// `events`, as docs/commands.md describes
// them. Reads what the node knows; never a key.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "distributor/connection_table.h"
#include "node/node.h"
#include "sequence/sequencer.h"

namespace testudo::node {

class Report {
 public:
  explicit Report(const Node& node) : node_(node) {}

  [[nodiscard]] nlohmann::json status() const;
  [[nodiscard]] nlohmann::json sa(const std::vector<sequence::SequencerInfo>& leases) const;
  [[nodiscard]] nlohmann::json connections(const std::vector<distributor::ConnectionInfo>& list) const;
  [[nodiscard]] nlohmann::json counters() const;
  [[nodiscard]] nlohmann::json events() const;

 private:
  [[nodiscard]] nlohmann::json members() const;
  [[nodiscard]] nlohmann::json dvipas() const;
  [[nodiscard]] nlohmann::json dvipa(IpAddress address, const OwnerRole::Owned& owned) const;
  [[nodiscard]] nlohmann::json dvipa(IpAddress address, const ShadowRole::Dvipa& shadow) const;
  [[nodiscard]] nlohmann::json warnings() const;
  [[nodiscard]] nlohmann::json sa(SaId id, const LocalSas::Entry& entry,
                                  const std::vector<sequence::SequencerInfo>& leases) const;
  [[nodiscard]] nlohmann::json filters() const;
  [[nodiscard]] nlohmann::json manual_files() const;
  [[nodiscard]] nlohmann::json sa_install_times() const;
  [[nodiscard]] std::string name_of(NodeId id) const;

  const Node& node_;
};

}  // namespace testudo::node
