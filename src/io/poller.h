// SPDX-License-Identifier: Apache-2.0
// Poller: where a worker sleeps until one of its ports is readable, somebody wakes it, or a deadline has come.
//
//   auto poller = io::Poller::create();
//   (*poller)->watch(port.descriptor(), /*token=*/1);
//   for (const std::uint64_t token : (*poller)->wait(1ms)) …    // empty: timeout or wake()
//
// Threads: wake() on any; the rest on the worker's.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "base/result.h"
#include "base/time.h"
#include "io/descriptor.h"

namespace testudo::io {

class Poller {
 public:
  static Result<std::unique_ptr<Poller>> create();

  /// Level triggered. `events` as in epoll(7). The descriptor must not be watched already.
  Result<void> watch(int descriptor, std::uint64_t token, std::uint32_t events = EPOLLIN);
  /// Before the descriptor is closed.
  void unwatch(int descriptor);

  struct Ready {
    std::uint64_t token = 0;
    std::uint32_t events = 0;  // as in epoll(7)
  };
  /// Sleeps at most `timeout` (negative: without end; 0: looks only; resolution: nanoseconds). Valid until the next
  /// call.
  [[nodiscard]] std::span<const Ready> wait(Duration timeout);

  /// Ends a wait() that is under way, or makes the next one return at once.
  void wake();

 private:
  Poller(Descriptor epoll, Descriptor event) : epoll_(std::move(epoll)), event_(std::move(event)) {}
  void drain_wake();

  Descriptor epoll_;
  Descriptor event_;
  std::array<Ready, 64> ready_{};
};

}  // namespace testudo::io
