// SPDX-License-Identifier: Apache-2.0
#include "cli/query.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <vector>

#include "node/config.h"

namespace testudo::cli {
namespace {

constexpr std::size_t kAnswerMax = 256U << 20;  // bytes: a full connection table is some tens of MiB
constexpr const char* kSocketFolder = "/run/testudo";

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

tl::unexpected<Error> not_running(const std::string& socket) {
  switch (errno) {
    case ENOENT:
      return fail(fmt::format("node not running? no socket at {}", socket));
    case ECONNREFUSED:
      return fail(fmt::format("node not running? nobody answers at {}", socket));
    case EACCES:
      return fail(fmt::format("no permission for {}: be root, or in the group that [control] group names", socket));
    default:
      return fail(fmt::format("{}: {}", socket, std::strerror(errno)));
  }
}

bool connect_to(int fd, const std::string& socket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  std::copy(socket.begin(), socket.end(), address.sun_path);
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

Result<std::string> read_line(int fd, const std::string& socket) {
  std::string line;
  std::vector<char> buffer(64U << 10);
  while (line.size() < kAnswerMax) {
    const ssize_t n = ::recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return fail(fmt::format("the node at {} does not answer in time", socket));
    if (n < 0) return fail(fmt::format("{}: {}", socket, std::strerror(errno)));
    if (n == 0) return fail(fmt::format("the node at {} closed the connection before it answered", socket));
    line.append(buffer.data(), static_cast<std::size_t>(n));
    if (line.back() == '\n') return line;
  }
  return fail(fmt::format("the answer from {} is longer than {} bytes", socket, kAnswerMax));
}

}  // namespace

Result<nlohmann::json> ask(const std::string& socket, const std::string& command, Duration timeout) {
  return request(socket, nlohmann::json{{"command", command}}, timeout);
}

Result<nlohmann::json> request(const std::string& socket, const nlohmann::json& whole, Duration timeout) {
  const Descriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return fail(fmt::format("socket: {}", std::strerror(errno)));
  const auto us = std::chrono::duration_cast<std::chrono::microseconds>(timeout).count();
  const timeval limit{us / 1'000'000, us % 1'000'000};
  ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (!connect_to(fd.get(), socket)) return not_running(socket);

  const std::string line_out = whole.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (::send(fd.get(), line_out.data(), line_out.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line_out.size())) {
    return not_running(socket);
  }
  const Result<std::string> line = read_line(fd.get(), socket);
  if (!line) return tl::unexpected(line.error());
  nlohmann::json answer = nlohmann::json::parse(*line, nullptr, /*allow_exceptions=*/false);
  if (!answer.is_object())
    return fail(fmt::format("what answers at {} is no testudo node: its answer is not JSON", socket));
  return answer;
}

Result<std::string> control_socket(const std::string& socket, const std::string& config) {
  if (!socket.empty()) return socket;
  if (!config.empty()) {
    node::LoadedConfig loaded = node::load_config(config);
    if (!loaded.config.control.socket.empty())
      return loaded.config.control.socket;  // other errors do not matter here
    return fail(loaded.errors.empty() ? config + ": names no control socket" : loaded.errors.front().to_string());
  }
  std::vector<std::string> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(kSocketFolder, ignored)) {
    if (entry.path().extension() == ".sock") found.push_back(entry.path().string());
  }
  std::sort(found.begin(), found.end());
  if (found.size() == 1) return found.front();
  if (found.empty()) {
    return fail(
        fmt::format("node not running? no socket in {}: --socket or --config says where it is", kSocketFolder));
  }
  return fail(fmt::format("several nodes are here, say which one: --socket {}", fmt::join(found, ", --socket ")));
}

}  // namespace testudo::cli
