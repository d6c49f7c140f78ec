// SPDX-License-Identifier: Apache-2.0
// One member of the etcd cluster: its gRPC channel and stubs.
#pragma once

#include <grpcpp/channel.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "facility/etcd/etcd_facility.h"
#include "facility/etcd/rpc.grpc.pb.h"

namespace testudo::facility {

struct EtcdServer {
  std::string name;  // as configured, for messages
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<etcdserverpb::KV::Stub> kv;
  std::unique_ptr<etcdserverpb::Lease::Stub> lease;
  std::unique_ptr<etcdserverpb::Watch::Stub> watch;
};

/// One per endpoint, in order. Does not connect yet.
Result<std::vector<EtcdServer>> make_servers(const EtcdOptions& options);

}  // namespace testudo::facility
