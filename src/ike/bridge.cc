// SPDX-License-Identifier: Apache-2.0
#include "ike/bridge.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"
#include "base/rng.h"

namespace testudo::ike {
namespace {

constexpr int kSocketBuffer = 4 * 1024 * 1024;  // bytes: bursts of IKE messages must fit
constexpr int kMessagesPerTurn = 64;            // so that the loop's other work is not starved

std::uint64_t new_instance() {
  KernelRng rng;
  std::uint64_t instance = 0;
  while (instance == 0) instance = rng.next();
  return instance;
}

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return fail(fmt::format("socket path {} has {} bytes; a Unix socket's path has 1–{}", path, path.size(),
                            sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

io::Descriptor new_socket() {
  return io::Descriptor(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

/// A socket file that nobody serves any more is left by a daemon that was killed.
bool served(const sockaddr_un& address) {
  const io::Descriptor probe = new_socket();
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
         errno == EAGAIN;
}

void enlarge_buffers(int fd) {
  for (const auto& [force, plain] : {std::pair{SO_SNDBUFFORCE, SO_SNDBUF}, std::pair{SO_RCVBUFFORCE, SO_RCVBUF}}) {
    if (!io::set_option(fd, SOL_SOCKET, force, kSocketBuffer)) io::set_option(fd, SOL_SOCKET, plain, kSocketBuffer);
  }
}

}  // namespace

CharonBridge::CharonBridge(io::Loop& loop, std::string path)
    : loop_(loop), path_(std::move(path)), buffer_(kBridgeMessageMax) {}

CharonBridge::~CharonBridge() {
  if (peer_.open()) loop_.unwatch(peer_.get());
  if (listener_.open()) {
    loop_.unwatch(listener_.get());
    ::unlink(path_.c_str());
  }
}

Result<void> CharonBridge::start(IkeEvents& events) {
  CHECK(events_ == nullptr);
  events_ = &events;
  protocol_ = std::make_unique<BridgeProtocol>(events, new_instance());
  return listen();
}

Result<void> CharonBridge::listen() {
  const auto address = address_of(path_);
  if (!address) return tl::unexpected(address.error());
  if (served(*address)) return fail(fmt::format("another process listens on {}", path_));
  io::Descriptor listener = new_socket();
  if (!listener.open()) return fail(io::system_error("socket for charon"));
  ::unlink(path_.c_str());
  const mode_t old =
      ::umask(0177);  // 0600 from the first moment on; the control thread is the only one that makes files
  const int bound = ::bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address);
  const std::string error = bound == 0 ? std::string() : io::system_error(path_);
  ::umask(old);
  if (bound != 0) return fail(error);
  if (::listen(listener.get(), 4) != 0) return fail(io::system_error(path_));
  const auto watched = loop_.watch(listener.get(), EPOLLIN, [this](std::uint32_t) { accept_peer(); });
  if (!watched) return watched;
  listener_ = std::move(listener);
  return {};
}

void CharonBridge::accept_peer() {
  io::Descriptor peer(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!peer.open()) return;
  ucred who{};
  socklen_t size = sizeof who;
  const bool known = ::getsockopt(peer.get(), SOL_SOCKET, SO_PEERCRED, &who, &size) == 0;
  if (!known || (who.uid != 0 && who.uid != ::geteuid())) {
    events_->ike_warning(
        fmt::format("process {} of user {} is not root, and was turned away from {}", who.pid, who.uid, path_));
    return;
  }
  if (peer_.open()) disconnect("a newer charon has connected");
  enlarge_buffers(peer.get());
  const auto watched = loop_.watch(peer.get(), EPOLLIN, [this](std::uint32_t) { receive(); });
  if (!watched) {
    events_->ike_warning(watched.error().message);
    return;
  }
  peer_ = std::move(peer);
}

void CharonBridge::receive() {
  for (int i = 0; i < kMessagesPerTurn && peer_.open(); ++i) {
    // MSG_TRUNC: the real size of a message that does not fit.
    const ssize_t size = ::recv(peer_.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT | MSG_TRUNC);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (size <= 0) return disconnect(size == 0 ? "charon has closed the connection" : io::system_error("charon"));
    if (static_cast<std::size_t>(size) > buffer_.size()) {
      return disconnect(fmt::format("message of {} bytes; {} are allowed", size, buffer_.size()));
    }
    handle(std::span(buffer_).first(static_cast<std::size_t>(size)));
  }
}

void CharonBridge::handle(std::span<std::uint8_t> message) {
  const auto answer = protocol_->handle(message);
  if (!answer) return disconnect(answer.error().message);
  if (answer->empty()) return;
  if (!send({reinterpret_cast<const std::uint8_t*>(answer->data()), answer->size()})) {
    disconnect("charon takes no answers");
  }
}

void CharonBridge::disconnect(const std::string& reason) {
  if (!peer_.open()) return;
  loop_.unwatch(peer_.get());
  peer_ = io::Descriptor();
  const bool greeted = protocol_->greeted();
  protocol_->reset();
  if (greeted) {
    events_->ike_disconnected(reason);
  } else {
    events_->ike_warning(fmt::format("a connection to {} was closed: {}", path_, reason));
  }
}

bool CharonBridge::send(std::span<const std::uint8_t> message) {
  return peer_.open() && ::send(peer_.get(), message.data(), message.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
                             static_cast<ssize_t>(message.size());
}

bool CharonBridge::expire(SaName name, IpAddress source, Expiry expiry) {
  const std::string message = BridgeProtocol::expire(name, source, expiry);
  return connected() && send({reinterpret_cast<const std::uint8_t*>(message.data()), message.size()});
}

bool CharonBridge::acquire(const Wanted& wanted) {
  const std::string message = BridgeProtocol::acquire(wanted);
  return connected() && send({reinterpret_cast<const std::uint8_t*>(message.data()), message.size()});
}

bool CharonBridge::deliver_ike(Endpoint local, Endpoint remote, std::span<const std::uint8_t> payload) {
  if (!connected() || payload.empty() || payload.size() > kIkePayloadMax) return false;
  const std::string message = BridgeProtocol::deliver_ike(local, remote, payload);
  return send({reinterpret_cast<const std::uint8_t*>(message.data()), message.size()});
}

}  // namespace testudo::ike
