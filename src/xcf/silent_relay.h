// SPDX-License-Identifier: Apache-2.0
// A TCP relay on loopback that can fall silent without closing anything, as a cable does that is pulled.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <map>
#include <thread>
#include <vector>

#include "base/address.h"
#include "base/check.h"
#include "io/socket_address.h"

namespace testudo::xcf {

class SilentRelay {
 public:
  explicit SilentRelay(const Endpoint& to) : to_(to), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = loopback(0);
    CHECK(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    CHECK(listen(listener_, 16) == 0);
    socklen_t size = sizeof address;
    CHECK(getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { run(); });
  }
  SilentRelay(const SilentRelay&) = delete;
  SilentRelay& operator=(const SilentRelay&) = delete;
  ~SilentRelay() {
    stop_ = true;
    thread_.join();
    close(listener_);
    for (const auto& [from, to] : other_) close(from);
  }

  [[nodiscard]] Endpoint endpoint() const { return {.address = IpAddress(INADDR_LOOPBACK), .port = port_}; }
  void fall_silent() { silent_ = true; }
  void speak_again() { silent_ = false; }

 private:
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    return address;
  }

  void run() {
    while (!stop_) {
      std::vector<pollfd> fds{{listener_, POLLIN, 0}};
      for (const auto& [from, to] : other_) fds.push_back({from, POLLIN, 0});
      if (silent_) {
        usleep(10'000);
        continue;
      }
      poll(fds.data(), fds.size(), 10);
      if ((fds[0].revents & POLLIN) != 0) accept_one();
      for (std::size_t i = 1; i < fds.size(); ++i) {
        if (fds[i].revents != 0 && other_.contains(fds[i].fd)) relay(fds[i].fd);
      }
    }
  }
  void accept_one() {
    const int from = accept(listener_, nullptr, nullptr);
    const io::SocketAddress address(to_);
    const int to = socket(address.get()->sa_family, SOCK_STREAM, 0);
    if (connect(to, address.get(), address.size()) != 0) {
      close(from);
      close(to);
      return;
    }
    other_[from] = to;
    other_[to] = from;
  }
  void relay(int from) {
    std::array<char, 65536> bytes;
    const ssize_t got = read(from, bytes.data(), bytes.size());
    const int to = other_[from];
    if (got > 0 && send(to, bytes.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) == got) return;
    for (const int fd : {from, to}) {
      other_.erase(fd);
      close(fd);
    }
  }

  Endpoint to_;
  int listener_;
  std::uint16_t port_ = 0;
  std::map<int, int> other_;  // of each connection's two sockets
  std::atomic<bool> silent_ = false;
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace testudo::xcf
