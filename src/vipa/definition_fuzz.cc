// SPDX-License-Identifier: Apache-2.0
// Any text: the parser ends, and what it accepts without error keeps the invariants of a Definition.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "vipa/definition.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace testudo;
  const vipa::ParsedDefinition parsed =
      vipa::parse_definition({reinterpret_cast<const char*>(data), size}, "fuzz.vipa");
  for (const vipa::Diagnostic& e : parsed.errors) {
    CHECK(e.line >= 1 && e.column >= 1 && !e.message.empty());
    for (const char c : e.to_string()) CHECK(static_cast<unsigned char>(c) >= 0x20);
  }
  if (!parsed.errors.empty()) return 0;
  const vipa::Definition& d = parsed.definition;
  for (const vipa::Define& define : d.defines) {
    CHECK(define.subnet.contains(define.address) && !d.find_backup(define.address));
  }
  for (const vipa::Backup& b : d.backups) CHECK(b.rank >= vipa::kRankMin && b.rank <= vipa::kRankMax);
  for (const vipa::Distribute& x : d.distributes) {
    CHECK(x.ports.size() <= vipa::kPortsMax && (d.find_define(x.address) || d.find_backup(x.address)));
    for (const std::uint16_t port : x.ports) CHECK(port != 0);
  }
  return 0;
}
