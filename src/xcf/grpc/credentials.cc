// SPDX-License-Identifier: Apache-2.0
#include "xcf/grpc/credentials.h"

#include <chrono>
#include <fstream>
#include <iterator>
#include <utility>

#include "base/address.h"
#include "base/secret.h"

namespace testudo::xcf {
namespace {

Result<std::string> contents(const std::string& path, const std::string& what) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  if (file) text.assign(std::istreambuf_iterator<char>(file), {});
  if (text.find("-----BEGIN") == std::string::npos) {
    return fail("cannot read " + what + " from '" + path +
                "': give a readable PEM file (tools/make-certificates.sh)");
  }
  return text;
}

int milliseconds(Duration duration) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

int message_bytes_max(const GrpcOptions& options) { return static_cast<int>(options.queue_bytes) + (1 << 20); }

}  // namespace

Result<Credentials> load_credentials(const GrpcOptions& options) {
  auto ca = contents(options.ca_file, "the cluster's CA certificate");
  if (!ca) return tl::unexpected<Error>(ca.error());
  auto certificate = contents(options.certificate_file, "this node's certificate");
  if (!certificate) return tl::unexpected<Error>(certificate.error());
  auto key = contents(options.key_file, "this node's private key");
  if (!key) return tl::unexpected<Error>(key.error());

  grpc::SslCredentialsOptions client;
  client.pem_root_certs = *ca;
  client.pem_cert_chain = *certificate;
  client.pem_private_key = *key;
  grpc::SslServerCredentialsOptions server(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  server.pem_root_certs = *ca;
  server.pem_key_cert_pairs.push_back({.private_key = *key, .cert_chain = *certificate});
  Credentials credentials{.client = grpc::SslCredentials(client), .server = grpc::SslServerCredentials(server)};
  for (std::string* copy : {&*key, &client.pem_private_key, &server.pem_key_cert_pairs[0].private_key}) {
    zero({reinterpret_cast<std::uint8_t*>(copy->data()), copy->size()});
  }
  return credentials;
}

std::vector<std::string> certificate_names(const grpc::AuthContext* peer) {
  std::vector<std::string> names;
  if (peer == nullptr || !peer->IsPeerAuthenticated()) return names;
  for (const grpc::string_ref& value : peer->FindPropertyValues("x509_subject_alternative_name")) {
    const std::string name(value.data(), value.size());
    if (!IpAddress::parse(name)) names.push_back(name);  // an address is no node name
  }
  if (!names.empty()) return names;
  for (const grpc::string_ref& value : peer->FindPropertyValues("x509_common_name")) {
    names.emplace_back(value.data(), value.size());
  }
  return names;
}

grpc::ChannelArguments channel_arguments(const GrpcOptions& options, const std::string& member) {
  grpc::ChannelArguments arguments;
  arguments.SetSslTargetNameOverride(member);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a new channel dials at once, whatever an old one met
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, milliseconds(options.hello_timeout));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options.keepalive));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, milliseconds(2 * options.keepalive));
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetMaxReceiveMessageSize(message_bytes_max(options));
  return arguments;
}

void set_up_transport(const GrpcOptions& options, grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT,
                             0);  // a second process on the port is an error, not a partner
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options.keepalive));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, milliseconds(2 * options.keepalive));
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 0);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, milliseconds(options.hello_timeout));
  builder.SetMaxReceiveMessageSize(message_bytes_max(options));
}

}  // namespace testudo::xcf
