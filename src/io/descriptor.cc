// SPDX-License-Identifier: Apache-2.0
#include "io/descriptor.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace testudo::io {

Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

std::string system_error(std::string_view what) {
  const int code = errno;
  return std::string(what) + ": " + std::generic_category().message(code);
}

bool set_option(int fd, int level, int name, const void* value, unsigned size) {
  return ::setsockopt(fd, level, name, value, size) == 0;
}

}  // namespace testudo::io
