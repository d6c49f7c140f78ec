// SPDX-License-Identifier: Apache-2.0
// SAs as they cross XCF: ipsec::SaParameters to xcf::v1::Sa and back (filters: filter_message.h). Every field that
// comes in is checked here, and nowhere else: what passes can be installed. The receiver's share of an SA's
// lifesize travels with it, and is put there by who sends it.
//
//   Result<ipsec::SaParameters> sa = sa_from_message(message);
//   if (!sa) ack.set_refused(sa.error().message);
#pragma once

#include "base/result.h"
#include "ike/lifesize.h"
#include "ipsec/sa_parameters.h"
#include "xcf/messages.pb.h"

namespace testudo::ike {

[[nodiscard]] xcf::v1::Share share_to_message(const Share& share);
[[nodiscard]] Share share_from_message(const xcf::v1::Share& message);

/// Into a message that is empty; what memory it has from earlier use it keeps.
void sa_to_message(const ipsec::SaParameters& sa, xcf::v1::Sa& message);
[[nodiscard]] xcf::v1::Sa sa_to_message(const ipsec::SaParameters& sa);
Result<ipsec::SaParameters> sa_from_message(const xcf::v1::Sa& message);

/// An SA's new path: what travels instead of the whole SA, whose keys need not be sent again.
struct SaMove {
  SaId id;
  Endpoint remote;
  std::uint16_t local_port = 0;
  bool udp_encapsulation = false;
};
void follow(ipsec::SaParameters& sa, const SaMove& move);
[[nodiscard]] xcf::v1::UpdateSa update_to_message(const ipsec::SaParameters& sa);
Result<SaMove> update_from_message(const xcf::v1::UpdateSa& message);

/// The whole message: DVIPA and epoch set, every SA and filter valid, every SA of that DVIPA.
Result<void> check_install(const xcf::v1::Install& install);

/// Overwrites the keys in a message that has been sent or applied (spec B6).
void scrub(xcf::v1::Install& install);
void scrub(xcf::v1::Sa& sa);

}  // namespace testudo::ike
