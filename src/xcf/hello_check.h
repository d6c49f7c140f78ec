// SPDX-License-Identifier: Apache-2.0
// What a node demands of a peer's Hello. One sentence for the log if it is turned away.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "xcf/messages.pb.h"

namespace testudo::xcf {

/// `names` are those in the peer's certificate; `dialled` is empty at the listening side. nullopt: welcome.
std::optional<std::string> reason_to_refuse(const v1::Hello& self, const v1::Hello& peer,
                                            const std::vector<std::string>& names, const std::string& dialled);

/// Zeroes the keys that a message carries, once they are of no more use (spec B6).
void zero_keys(v1::Envelope& message);

}  // namespace testudo::xcf
