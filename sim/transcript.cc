// SPDX-License-Identifier: Apache-2.0
#include "sim/transcript.h"

namespace testudo::sim {

// FNV-1a: two runs are compared, nobody attacks.
void Transcript::digest(std::uint64_t value) {
  for (int i = 0; i < 8; ++i) hash_ = (hash_ ^ (value >> (8 * i) & 0xff)) * 0x100000001b3;
}

void Transcript::line(const std::string& who, const std::string& text) {
  const double ms = std::chrono::duration<double, std::milli>(time_.now().time_since_epoch()).count();
  std::string line = fmt::format("{:12.3f} ms  {:<8} {}", ms, who, text);
  for (const char c : line) hash_ = (hash_ ^ static_cast<std::uint8_t>(c)) * 0x100000001b3;
  ++lines_;
  if (verbose_) std::printf("%s\n", line.c_str());
  last_.push_back(std::move(line));
  if (last_.size() > keep_) last_.pop_front();
}

void Transcript::print(std::FILE* out) const {
  for (const std::string& line : last_) std::fprintf(out, "%s\n", line.c_str());
}

}  // namespace testudo::sim
