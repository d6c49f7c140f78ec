// SPDX-License-Identifier: Apache-2.0
#include "crypto/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "base/check.h"
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

Result<void> check_key(Suite suite, std::size_t key_size) {
  if (!is_suite(suite)) return fail(fmt::format("no cipher suite has the number {}", suite_number(suite)));
  if (key_size == sizes(suite).key) return {};
  return fail(
      fmt::format("a key of {} bytes for {}, which takes {}", key_size, sizes(suite).name, sizes(suite).key));
}

Result<OwnedContext> Engine::make_context(Suite suite, const Secret& key, Esn esn) {
  if (const auto checked = check_key(suite, key.size()); !checked) return tl::unexpected(checked.error());
  try {
    OwnedContext context;
    context.memory_.emplace();
    expand(suite, key.bytes(), esn, *context);
    return context;
  } catch (const std::bad_alloc&) {
    return fail(kCannotLock);
  }
}

void Engine::expand(Suite suite, std::span<const std::uint8_t> key, Esn esn, CipherContext& context) {
  const Keys keys = describe(suite, key, esn, context);
  expand_keys(keys.cipher, keys.integrity, context);
}

void Engine::expand_for_peek(Suite suite, std::span<const std::uint8_t> key, Esn esn, CipherContext& context) {
  expand_peek_keys(describe(suite, key, esn, context).cipher, context);
}

/// Fills all of the context but the storage.
Engine::Keys Engine::describe(Suite suite, std::span<const std::uint8_t> key, Esn esn,
                              CipherContext& context) const {
  CHECK(is_suite(suite) && key.size() == sizes(suite).key);
  const internal::CipherRow& cipher = internal::row(suite.cipher);
  const internal::IntegrityRow& integrity = internal::row(suite.integrity);
  context.suite_ = suite;
  context.mode_ = cipher.mode;
  context.backend_ = backend_;
  context.esn_ = esn;
  context.iv_ = static_cast<std::uint8_t>(sizes(suite).iv);
  context.icv_ = static_cast<std::uint8_t>(sizes(suite).icv);
  context.block_ = cipher.block;
  context.cipher_key_ = cipher.key;
  // Cipher's key and salt, integrity's key and salt: at most one of the two has a salt.
  const auto cipher_key = key.first(cipher.key);
  const auto cipher_salt = key.subspan(cipher.key, cipher.salt);
  const auto rest = key.subspan(std::size_t{0} + cipher.key + cipher.salt);
  const auto salt = integrity.salt != 0 ? rest.subspan(integrity.key) : cipher_salt;
  context.salt_.fill(0);
  std::ranges::copy(salt, context.salt_.begin());
  return {cipher_key, rest.first(integrity.key)};
}

Result<std::unique_ptr<Engine>> make_engine(Backend backend) {
  try {
    return make(backend);
  } catch (const std::bad_alloc&) {
    return fail(kCannotLock);
  }
}

}  // namespace testudo::crypto
