// SPDX-License-Identifier: Apache-2.0
// TLS of the XCF control streams, and the transport's settings that both sides share.
#pragma once

#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/support/channel_arguments.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "xcf/grpc/grpc_bus.h"

namespace testudo::xcf {

struct Credentials {
  std::shared_ptr<grpc::ChannelCredentials> client;
  std::shared_ptr<grpc::ServerCredentials> server;  // demands a client certificate and verifies it
};
Result<Credentials> load_credentials(const GrpcOptions& options);

/// Names in the peer's certificate: the DNS entries of subjectAltName, or its common name if there are none.
std::vector<std::string> certificate_names(const grpc::AuthContext* peer);

/// `member`: the name that the server's certificate must have.
grpc::ChannelArguments channel_arguments(const GrpcOptions& options, const std::string& member);
void set_up_transport(const GrpcOptions& options, grpc::ServerBuilder& builder);

}  // namespace testudo::xcf
