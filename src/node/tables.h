// SPDX-License-Identifier: Apache-2.0
// The immutable table of DVIPAs and targets that the data plane looks things up in, made from what the roles know
// at the moment. (Filters: filter_feed.h.)
#pragma once

#include <functional>
#include <map>
#include <memory>

#include "base/strong.h"
#include "distributor/distribution.h"
#include "node/owner_role.h"
#include "node/shadow_role.h"
#include "vipa/readiness.h"
#include "xcf/messages.pb.h"

namespace testudo::node {

/// `members`: those whose XCF link is up, by number. `may_forward`: who may be given connections of an owned DVIPA.
[[nodiscard]] std::shared_ptr<const distributor::Distribution> make_distribution(
    NodeId self, const OwnerRole& owner, const ShadowRole& shadow, const vipa::Readiness& readiness,
    const std::map<NodeId, xcf::v1::Hello>& members, const std::function<bool(IpAddress, NodeId)>& may_forward);

}  // namespace testudo::node
