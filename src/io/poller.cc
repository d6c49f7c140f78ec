// SPDX-License-Identifier: Apache-2.0
#include "io/poller.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>

#include "base/check.h"

namespace testudo::io {
namespace {

// Of the eventfd behind wake(); callers' tokens are handed back as they are, this one never is.
constexpr std::uint64_t kWakeToken = ~std::uint64_t{0};

}  // namespace

Result<std::unique_ptr<Poller>> Poller::create() {
  Descriptor epoll(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.open()) return fail(system_error("cannot create an epoll descriptor"));
  Descriptor event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.open()) return fail(system_error("cannot create an eventfd"));
  const int wake = event.get();
  std::unique_ptr<Poller> poller(new Poller(std::move(epoll), std::move(event)));
  epoll_event interest{.events = EPOLLIN, .data = {.u64 = kWakeToken}};
  if (epoll_ctl(poller->epoll_.get(), EPOLL_CTL_ADD, wake, &interest) != 0) {
    return fail(system_error("cannot watch an eventfd"));
  }
  return poller;
}

Result<void> Poller::watch(int descriptor, std::uint64_t token, std::uint32_t events) {
  CHECK(token != kWakeToken);
  epoll_event interest{.events = events, .data = {.u64 = token}};
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &interest) != 0) {
    return fail(system_error("cannot watch descriptor " + std::to_string(descriptor)));
  }
  return {};
}

void Poller::unwatch(int descriptor) { epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, descriptor, nullptr); }

std::span<const Poller::Ready> Poller::wait(Duration timeout) {
  std::array<epoll_event, std::tuple_size_v<decltype(ready_)>> events{};
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  timespec limit{};
  limit.tv_sec = seconds.count();
  limit.tv_nsec = (timeout - seconds).count();
  const int n = epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()),
                             timeout < Duration::zero() ? nullptr : &limit, nullptr);
  CHECK(n >= 0 || errno == EINTR);
  std::size_t count = 0;
  for (int i = 0; i < n; ++i) {
    if (events[static_cast<std::size_t>(i)].data.u64 == kWakeToken) {
      drain_wake();
    } else {
      ready_[count++] = {.token = events[static_cast<std::size_t>(i)].data.u64,
                         .events = events[static_cast<std::size_t>(i)].events};
    }
  }
  return std::span(ready_).first(count);
}

void Poller::wake() {
  // Fails only when the counter is full: then the other side is awake anyway.
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof one);
}

void Poller::drain_wake() {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(event_.get(), &count, sizeof count);
}

}  // namespace testudo::io
