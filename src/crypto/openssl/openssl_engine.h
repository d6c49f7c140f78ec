// SPDX-License-Identifier: Apache-2.0
// The engine over OpenSSL 3: the fallback, and what ipsec-mb is checked against. Use crypto::make_engine().
#pragma once

#include <memory>

#include "crypto/engine.h"

namespace testudo::crypto {

std::unique_ptr<Engine> make_openssl_engine();

}  // namespace testudo::crypto
