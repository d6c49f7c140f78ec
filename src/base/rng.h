// SPDX-License-Identifier: Apache-2.0
// Rng: random bytes, injected. The daemon's come from the kernel (getrandom), the simulation's from its seed.
#pragma once

#include <cstdint>
#include <span>

namespace testudo {

class Rng {
 public:
  Rng() = default;
  Rng(const Rng&) = delete;
  Rng& operator=(const Rng&) = delete;
  virtual ~Rng() = default;

  virtual void fill(std::span<std::uint8_t> out) = 0;
  [[nodiscard]] std::uint64_t next() {
    std::uint64_t value = 0;
    fill({reinterpret_cast<std::uint8_t*>(&value), sizeof value});
    return value;
  }
};

/// Reproducible numbers from a seed, for tests and the simulation. Never for keys or IVs of the daemon.
class SeededRng final : public Rng {
 public:
  explicit SeededRng(std::uint64_t seed) : state_(seed) {}
  void fill(std::span<std::uint8_t> out) override;

 private:
  std::uint64_t state_;
};

/// The kernel's random source (getrandom(2)).
class KernelRng final : public Rng {
 public:
  void fill(std::span<std::uint8_t> out) override;
};

}  // namespace testudo
