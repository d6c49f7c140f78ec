// SPDX-License-Identifier: Apache-2.0
// The coupling facility in etcd (v3 API over gRPC, etcd 3.4 or later).
//
//   auto facility = connect_etcd(executor, {.endpoints = {"https://10.77.0.9:2379"}, .ca_file = "ca.crt",
//                                           .certificate_file = "t1.crt", .key_file = "t1.key"});
//   if (!facility) return tl::unexpected(facility.error());
//   (*facility)->open_session(3s, …, …);
//
// Thread: made, called and destroyed on the executor's thread; callbacks run there and nowhere else. The destructor
// cancels what is under way and waits for gRPC to let go of it (milliseconds); its callbacks are then dropped.
//
// The session counts as lost as soon as no keepalive *sent* within its TTL was answered, whatever etcd may think:
// the node stops no later than its keys vanish. etcd counts TTLs in whole seconds; a fraction is rounded up there.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "facility/facility.h"

namespace testudo::facility {

struct EtcdOptions {
  /// "http://HOST:PORT", "https://HOST:PORT"; without a scheme https if ca_file is given. Tried in turn when one
  /// fails.
  std::vector<std::string> endpoints;
  /// PEM files; all three or none. With them etcd's certificate is checked, and etcd can check ours.
  std::string ca_file{};
  std::string certificate_file{};
  std::string key_file{};
  Duration call_timeout = 2s;
};

/// Fails at once if an endpoint cannot be parsed or a file cannot be read; does not wait for etcd to answer.
Result<std::unique_ptr<Facility>> connect_etcd(Executor& executor, EtcdOptions options);

}  // namespace testudo::facility
