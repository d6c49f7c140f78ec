// SPDX-License-Identifier: Apache-2.0
// The engine over intel-ipsec-mb. Use crypto::make_engine().
#pragma once

#include <memory>

#include "crypto/engine.h"

namespace testudo::crypto {

/// Null: the CPU lacks AES-NI or PCLMULQDQ.
std::unique_ptr<Engine> make_ipsec_mb_engine();

}  // namespace testudo::crypto
