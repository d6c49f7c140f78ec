// SPDX-License-Identifier: Apache-2.0
#include "node/control_socket.h"

#include <fmt/format.h>
#include <grp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <utility>

#include "io/descriptor.h"
#include "io/loop.h"

namespace testudo::node {
namespace {

using io::Descriptor;
using io::system_error;

constexpr std::size_t kRequestMax = 4096;    // bytes, line end included
constexpr std::size_t kConnectionsMax = 32;  // at once; more are turned away
constexpr int kBacklog = 16;

Result<sockaddr_un> socket_address(const std::string& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  if (path.size() >= sizeof out.sun_path) {
    return fail(
        fmt::format("{}: too long for a Unix socket: {} bytes are the most", path, sizeof out.sun_path - 1));
  }
  std::copy(path.begin(), path.end(), out.sun_path);
  return out;
}

Descriptor new_socket() { return Descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

/// Somebody accepts connections there. EAGAIN: somebody does, and its backlog is full.
bool answers(const sockaddr_un& address) {
  const Descriptor probe = new_socket();
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno == EAGAIN;
}

/// Removes what a dead node left; refuses to touch anything else.
Result<void> clear_place(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return fail(system_error(path));
  }
  if (!S_ISSOCK(status.st_mode))
    return fail(fmt::format("{} is there and is no socket: [control] socket names another place", path));
  if (answers(address)) {
    return fail(fmt::format(
        "a node is already running with the control socket {}: stop it, or give this one another", path));
  }
  if (::unlink(path.c_str()) != 0) return fail(system_error(path));
  return {};
}

Result<void> give_to_group(const std::string& path, const std::string& group) {
  if (group.empty()) return {};
  const struct group* found = ::getgrnam(group.c_str());
  if (found == nullptr) return fail(fmt::format("there is no group {} for the control socket", group));
  if (::chown(path.c_str(), static_cast<uid_t>(-1), found->gr_gid) != 0 || ::chmod(path.c_str(), 0660) != 0) {
    return fail(system_error(path));
  }
  return {};
}

/// A listening socket with mode 0600 from its first moment, or 0660 and the group.
Result<Descriptor> listen_at(const std::string& path, const std::string& group) {
  const Result<sockaddr_un> address = socket_address(path);
  if (!address) return tl::unexpected(address.error());
  std::error_code ignored;  // bind tells
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), ignored);
  if (Result<void> cleared = clear_place(path, *address); !cleared) return tl::unexpected(cleared.error());
  Descriptor fd = new_socket();
  const mode_t before = ::umask(0177);
  const bool bound = ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) == 0;
  const int bind_errno = errno;
  ::umask(before);
  errno = bind_errno;
  if (!bound) return fail(system_error(path));
  if (Result<void> given = give_to_group(path, group); !given) return tl::unexpected(given.error());
  if (::listen(fd.get(), kBacklog) != 0) return fail(system_error(path));
  return fd;
}

bool privileged(int connection) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return ::getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == ::geteuid());
}

class Server final : public ControlSocket {
 public:
  Server(io::Loop& loop, std::string path, Descriptor listener, Handler handler)
      : loop_(loop), path_(std::move(path)), listener_(std::move(listener)), handler_(std::move(handler)) {}
  ~Server() override {
    for (const auto& [id, connection] : connections_) loop_.unwatch(connection.fd.get());
    if (watching_) loop_.unwatch(listener_.get());
    ::unlink(path_.c_str());
  }

  Result<void> start() {
    Result<void> watched = loop_.watch(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept(); });
    watching_ = watched.has_value();
    return watched;
  }

 private:
  struct Connection {
    Descriptor fd;
    std::string in;        // bytes of a request whose end has not come
    std::string out;       // of an answer that the kernel has not taken
    bool waiting = false;  // for the handler's reply; further requests stay in `in`
    bool peer_done = false;
  };
  using Id = std::uint64_t;

  void accept() {
    Descriptor fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.open() || connections_.size() >= kConnectionsMax) return;
    const Id id = next_id_++;
    const int number = fd.get();
    connections_[id].fd = std::move(fd);
    watch(id, number, EPOLLIN);
  }

  void watch(Id id, int fd, std::uint32_t events) {
    const Result<void> watched = loop_.watch(fd, events, [this, id](std::uint32_t ready) { serve(id, ready); });
    if (!watched) connections_.erase(id);
  }

  /// What is being waited for depends on the connection's state; EPOLLHUP always comes.
  void rewatch(Id id) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& c = found->second;
    loop_.unwatch(c.fd.get());
    if (c.peer_done && c.out.empty() && !c.waiting) {
      connections_.erase(found);
      return;
    }
    const bool reads = !c.waiting && c.out.empty() && !c.peer_done;
    const bool writes = !c.out.empty();
    if (reads || writes) watch(id, c.fd.get(), (reads ? EPOLLIN : 0U) | (writes ? EPOLLOUT : 0U));
  }

  void close(Id id) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    loop_.unwatch(found->second.fd.get());
    connections_.erase(found);
  }

  void serve(Id id, std::uint32_t ready) {
    Connection& c = connections_.at(id);
    if ((ready & EPOLLERR) != 0) return close(id);
    if ((ready & EPOLLOUT) != 0 && !flush(c)) return close(id);
    if ((ready & (EPOLLIN | EPOLLHUP)) != 0 && !read(c)) return close(id);
    next_request(id);
  }

  /// False: the connection is broken, or a request is too long.
  static bool read(Connection& c) {
    char buffer[1024];
    while (c.in.size() < kRequestMax) {
      const ssize_t n = ::recv(c.fd.get(), buffer, std::min(sizeof buffer, kRequestMax - c.in.size()), 0);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      if (n == 0) {
        c.peer_done = true;
        return true;
      }
      c.in.append(buffer, static_cast<std::size_t>(n));
    }
    return c.in.find('\n') != std::string::npos;
  }

  static bool flush(Connection& c) {
    while (!c.out.empty()) {
      const ssize_t n = ::send(c.fd.get(), c.out.data(), c.out.size(), MSG_NOSIGNAL);
      if (n < 0) return errno == EAGAIN || errno == EINTR;
      c.out.erase(0, static_cast<std::size_t>(n));
    }
    return true;
  }

  /// Takes one whole request, if there is one and the last one has been answered.
  void next_request(Id id) {
    Connection& c = connections_.at(id);
    const std::size_t end = c.in.find('\n');
    if (c.waiting || !c.out.empty() || end == std::string::npos) return rewatch(id);
    const std::string line = c.in.substr(0, end);
    c.in.erase(0, end + 1);
    c.waiting = true;
    rewatch(id);
    const nlohmann::json request = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    const bool good = request.is_object() && request.contains("command") && request["command"].is_string();
    const Reply reply = [this, id, alive = std::weak_ptr(alive_)](const nlohmann::json& answer) {
      if (alive.lock()) this->reply(id, answer);
    };
    if (!good) return reply({{"error", "a request is one line of JSON such as {\"command\": \"status\"}"}});
    handler_({.command = request["command"].get<std::string>(),
              .arguments = request,
              .privileged = privileged(connections_.at(id).fd.get())},
             reply);
  }

  void reply(Id id, const nlohmann::json& answer) {
    const auto found = connections_.find(id);
    if (found == connections_.end() || !found->second.waiting) return;
    Connection& c = found->second;
    c.waiting = false;
    c.out = answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    if (!flush(c)) return close(id);
    rewatch(id);
    // A further request that has come meanwhile is served in the loop's next round: no recursion through the
    // handler.
    if (connections_.contains(id)) {
      loop_.post([this, id, alive = std::weak_ptr(alive_)] {
        if (alive.lock() && connections_.contains(id)) next_request(id);
      });
    }
  }

  io::Loop& loop_;
  std::string path_;
  Descriptor listener_;
  Handler handler_;
  bool watching_ = false;
  std::map<Id, Connection> connections_;
  Id next_id_ = 1;
  std::shared_ptr<int> alive_ = std::make_shared<int>();
};

}  // namespace

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(io::Loop& loop, const std::string& path,
                                                           const std::string& group, Handler handler) {
  Result<Descriptor> listener = listen_at(path, group);
  if (!listener) return tl::unexpected(listener.error());
  auto server = std::make_unique<Server>(loop, path, std::move(*listener), std::move(handler));
  if (Result<void> started = server->start(); !started) return tl::unexpected(started.error());
  return std::unique_ptr<ControlSocket>(std::move(server));
}

nlohmann::json ControlSocket::unknown_command(const std::string& command) {
  return {{"error",
           fmt::format("this node knows no command {}",
                       nlohmann::json(command).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace))}};
}

}  // namespace testudo::node
