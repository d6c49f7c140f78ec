// SPDX-License-Identifier: Apache-2.0
// KeyLog: writes the keys of SAs to a file, so that Wireshark decrypts a capture ([debug] key-log;
// docs/debugging.md). Off unless the configuration names a file. This is the one place where keys leave locked
// memory: everything that does it is in this file and in key_log.cc.
//
//   Result<std::unique_ptr<KeyLog>> log = KeyLog::open("/root/esp_sa");
//   (*log)->add(sa);     // "IPv4","192.0.2.100","198.51.100.7","0xc1d2e3f4","AES-CBC [RFC3602]","0x0011…",…
//
// The file is Wireshark's table of ESP SAs (preference esp_sa), which it reads as `esp_sa` in its configuration
// folder. What the table has no words for, AH and some suites, is there as a comment.
//
// Control thread only.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "base/result.h"
#include "io/descriptor.h"
#include "ipsec/sa_parameters.h"

namespace testudo::node {

class KeyLog {
 public:
  /// Appends to the file, which is made with mode 0600. Refuses one that others may read, or that is no file.
  static Result<std::unique_ptr<KeyLog>> open(const std::string& path);

  void add(const ipsec::SaParameters& sa);

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::size_t written() const { return written_; }  // SAs
  [[nodiscard]] std::size_t failed() const { return failed_; }    // SAs: the disk is full, or the like

 private:
  KeyLog(std::string path, io::Descriptor file) : path_(std::move(path)), file_(std::move(file)) {}

  std::string path_;
  io::Descriptor file_;
  std::size_t written_ = 0, failed_ = 0;
};

}  // namespace testudo::node
