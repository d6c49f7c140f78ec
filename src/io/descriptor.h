// SPDX-License-Identifier: Apache-2.0
// Descriptor: owns a file descriptor and closes it.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "base/result.h"

namespace testudo::io {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor();

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// "WHAT: what errno says." for errors that come of a system call that has just failed.
[[nodiscard]] std::string system_error(std::string_view what);

/// Sets a socket option that takes any trivially copyable value; false on failure, with errno.
bool set_option(int fd, int level, int name, const void* value, unsigned size);
inline bool set_option(int fd, int level, int name, int value) {
  return set_option(fd, level, name, &value, sizeof value);
}

/// The mark of every packet that the daemon itself sends. The steering leads it past the rules that catch a DVIPA's
/// packets (netlink/steering.h).
inline constexpr unsigned kOwnMark = 0x7e57;

}  // namespace testudo::io
