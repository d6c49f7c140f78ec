// SPDX-License-Identifier: Apache-2.0
#include "node/key_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <iterator>
#include <optional>
#include <string_view>

#include "base/secret.h"
#include "crypto/suite.h"

namespace testudo::node {
namespace {

using crypto::Cipher;
using crypto::Integrity;

/// Wireshark's names of 4.0; empty: it has none.
std::string_view encryption_name(crypto::Suite suite) {
  switch (mode_of(suite)) {
    case crypto::Mode::kNull:
      return "NULL";
    case crypto::Mode::kCbc:
      return "AES-CBC [RFC3602]";
    case crypto::Mode::kCtr:
      return "AES-CTR [RFC3686]";
    case crypto::Mode::kGcm:
      return crypto::sizes(suite).icv == 8    ? "AES-GCM with 8 octet ICV [RFC4106]"
             : crypto::sizes(suite).icv == 12 ? "AES-GCM with 12 octet ICV [RFC4106]"
                                              : "AES-GCM with 16 octet ICV [RFC4106]";
    default:
      return "";
  }
}

std::string_view authentication_name(Integrity integrity) {
  switch (integrity) {
    case Integrity::kHmacSha1:
      return "HMAC-SHA-1-96 [RFC2404]";
    case Integrity::kHmacSha256:
      return "HMAC-SHA-256-128 [RFC4868]";
    case Integrity::kHmacSha384:
      return "HMAC-SHA-384-192 [RFC4868]";
    case Integrity::kHmacSha512:
      return "HMAC-SHA-512-256 [RFC4868]";
    case Integrity::kAesXcbc:
    case Integrity::kAesCmac:
      return "ANY 96 bit authentication [no checking]";
    default:
      return "NULL";
  }
}

void append_key(std::string& line, std::span<const std::uint8_t> key) {
  if (!key.empty()) fmt::format_to(std::back_inserter(line), "0x{:02x}", fmt::join(key, ""));
}

/// Protocol version, source, destination and SPI. A NAT may give the peer another address at any time.
std::string ends_of(const ipsec::SaParameters& sa, Spi spi) {
  const std::string remote = sa.udp_encapsulation ? "*" : sa.remote.to_string();
  const std::string local = sa.local.to_string();
  const bool inbound = sa.direction == ipsec::Direction::kInbound;
  return fmt::format(R"("{}","{}","{}","{:#010x}")", sa.local.is_v4() ? "IPv4" : "IPv6", inbound ? remote : local,
                     inbound ? local : remote, spi.value());
}

void append_esp(std::string& text, const std::string& ends, crypto::Suite suite, const Secret& key) {
  const std::string_view encryption = encryption_name(suite);
  if (encryption.empty()) {
    text += fmt::format("# Wireshark cannot read {}: {},\"", crypto::sizes(suite).name, ends);
    append_key(text, key.bytes());
    text += "\"\n";
    return;
  }
  const bool has_integrity = suite.integrity != Integrity::kNone;
  const std::size_t tail = has_integrity ? crypto::sizes({Cipher::kNone, suite.integrity}).key : 0;
  const std::string_view authentication = authentication_name(suite.integrity);
  text += fmt::format("{},\"{}\",\"", ends, encryption);
  append_key(text, key.bytes().first(key.size() - tail));
  text += fmt::format("\",\"{}\",\"", authentication);
  if (!authentication.starts_with("ANY")) append_key(text, key.bytes().last(tail));
  text += "\"\n";
}

}  // namespace

Result<std::unique_ptr<KeyLog>> KeyLog::open(const std::string& path) {
  io::Descriptor file(
      ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600));
  if (!file.open()) return fail(io::system_error("key log " + path));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode))
    return fail(fmt::format("key log {}: is no file", path));
  if ((status.st_mode & 077) != 0 || status.st_uid != ::geteuid()) {
    return fail(
        fmt::format("key log {}: is there, and others may read or own it: remove it, or name another", path));
  }
  return std::unique_ptr<KeyLog>(new KeyLog(path, std::move(file)));
}

void KeyLog::add(const ipsec::SaParameters& sa) {
  std::string text = fmt::format("# {} {}, {}\n", sa.tunnel, crypto::sizes(sa.suite).name,
                                 sa.esn ? "extended sequence numbers" : "32-bit sequence numbers");
  text.reserve(4096);  // a key is not left behind in what a longer string has given back
  if (sa.protocol == ipsec::Protocol::kEsp) {
    append_esp(text, ends_of(sa, sa.spi), sa.suite, sa.key);
  } else {
    text += fmt::format("# AH {},\"", ends_of(sa, sa.spi));
    append_key(text, sa.key.bytes());
    text += "\"\n";
    if (sa.inner_esp) append_esp(text, ends_of(sa, sa.inner_esp->spi), sa.inner_esp->suite, sa.inner_esp->key);
  }
  const ssize_t done = ::write(file_.get(), text.data(), text.size());
  ++(done == static_cast<ssize_t>(text.size()) ? written_ : failed_);
  zero({reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
}

}  // namespace testudo::node
