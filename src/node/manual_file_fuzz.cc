// SPDX-License-Identifier: Apache-2.0
// Any text as a file of manual SAs: the parser ends, says where each error is, and never repeats a key; what it
// takes without an error can be installed and distributed.
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "ike/manual_sa.h"
#include "ike/sa_message.h"
#include "node/manual_file.h"

namespace {

/// As long as the shortest key that an algorithm has.
bool has_key(std::string_view text) {
  std::size_t digits = 0;
  for (const char c : text) {
    digits = std::isxdigit(static_cast<unsigned char>(c)) != 0 ? digits + 1 : 0;
    if (digits >= 32) return true;
  }
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace testudo;
  if (size > 16'384) return 0;
  node::LoadedManualFile loaded =
      node::parse_manual_file(Secret(std::span<const std::uint8_t>(data, size)), "/fuzz.toml", nullptr);
  for (const vipa::Diagnostic& e : loaded.errors) {
    CHECK(!e.message.empty());
    for (const char c : e.to_string()) CHECK(static_cast<unsigned char>(c) >= 0x20);
  }
  if (!loaded.errors.empty()) return 0;
  for (ipsec::SaParameters& sa : loaded.file.sas) {
    CHECK(ike::is_manual(sa.tunnel) && !has_key(sa.tunnel));
    CHECK(ike::check_manual_suite(sa.suite) && ike::sequence_name(sa).size() == 32);
    CHECK(!sa.inner_esp || ike::check_manual_suite(sa.inner_esp->suite));
    sa.id = SaId(1);
    CHECK(ike::sa_from_message(ike::sa_to_message(sa)));
  }
  return 0;
}
