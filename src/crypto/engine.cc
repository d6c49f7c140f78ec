// SPDX-License-Identifier: Apache-2.0
#include "crypto/engine.h"

#include <fmt/format.h>

#include <new>

#include "crypto/ipsec_mb/ipsec_mb_engine.h"
#include "crypto/openssl/openssl_engine.h"

namespace testudo::crypto {
namespace {

constexpr const char* kCannotLock =
    "cannot lock memory for keys: raise the limit of locked memory (RLIMIT_MEMLOCK)";

Result<std::unique_ptr<Engine>> make(Backend backend) {
  if (backend == Backend::kOpenssl) return make_openssl_engine();
  std::unique_ptr<Engine> engine = make_ipsec_mb_engine();
  if (engine) return engine;
  if (backend == Backend::kBest) return make_openssl_engine();
  return fail("this CPU lacks AES-NI or PCLMULQDQ, which ipsec-mb needs: use the OpenSSL backend");
}

}  // namespace

Result<std::unique_ptr<CipherContext>> Engine::make_context(Suite suite, const Secret& key, Esn esn) {
  if (key.size() != sizes(suite).key) {
    return fail(
        fmt::format("a key of {} bytes for {}, which takes {}", key.size(), sizes(suite).name, sizes(suite).key));
  }
  try {
    return expand(suite, key, esn);
  } catch (const std::bad_alloc&) {
    return fail(kCannotLock);
  }
}

Result<std::unique_ptr<Engine>> make_engine(Backend backend) {
  try {
    return make(backend);
  } catch (const std::bad_alloc&) {
    return fail(kCannotLock);
  }
}

}  // namespace testudo::crypto
