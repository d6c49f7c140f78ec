// SPDX-License-Identifier: Apache-2.0
#include "facility/etcd/server.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>

#include "base/address.h"
#include "facility/grpc_threads.h"

namespace testudo::facility {
namespace {

Result<std::string> contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail("cannot read '" + path + "' for the connection to etcd: give a readable PEM file");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

Result<std::shared_ptr<grpc::ChannelCredentials>> tls(const EtcdOptions& options) {
  if (options.ca_file.empty() || options.certificate_file.empty() || options.key_file.empty()) {
    return fail("https to etcd needs all three of ca_file, certificate_file and key_file");
  }
  auto ca = contents(options.ca_file);
  if (!ca) return tl::unexpected<Error>(ca.error());
  auto certificate = contents(options.certificate_file);
  if (!certificate) return tl::unexpected<Error>(certificate.error());
  auto key = contents(options.key_file);
  if (!key) return tl::unexpected<Error>(key.error());
  grpc::SslCredentialsOptions ssl;
  ssl.pem_root_certs = std::move(*ca);
  ssl.pem_cert_chain = std::move(*certificate);
  ssl.pem_private_key = std::move(*key);
  return grpc::SslCredentials(ssl);
}

grpc::ChannelArguments channel_arguments() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);  // also how long one attempt may take
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 10'000);  // etcd tolerates no more than one ping in 5 s
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 2'000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return arguments;
}

struct Target {
  std::string address;  // as gRPC wants it
  bool https;
};

Result<Target> parse(std::string_view text, bool default_https) {
  std::string_view rest = text;
  bool https = default_https;
  if (rest.starts_with("http://")) {
    https = false;
    rest.remove_prefix(7);
  } else if (rest.starts_with("https://")) {
    https = true;
    rest.remove_prefix(8);
  }
  if (rest.ends_with('/')) rest.remove_suffix(1);
  const auto colon = rest.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == rest.size() ||
      rest.find('/') != std::string_view::npos ||
      rest.substr(colon + 1).find_first_not_of("0123456789") != std::string_view::npos) {
    return fail("'" + std::string(text) + "' is no etcd endpoint: write http://HOST:PORT or https://HOST:PORT");
  }
  const auto numeric = Endpoint::parse(rest);
  const char* scheme = !numeric ? "dns:///" : numeric->address.is_v4() ? "ipv4:" : "ipv6:";
  return Target{.address = scheme + std::string(rest), .https = https};
}

}  // namespace

Result<std::vector<EtcdServer>> make_servers(const EtcdOptions& options) {
  if (options.endpoints.empty()) return fail("no etcd endpoint is given: name at least one, http://HOST:PORT");
  keep_grpc_threads();
  std::vector<EtcdServer> servers;
  for (const std::string& endpoint : options.endpoints) {
    const auto target = parse(endpoint, !options.ca_file.empty());
    if (!target) return tl::unexpected<Error>(target.error());
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    if (target->https) {
      auto made = tls(options);
      if (!made) return tl::unexpected<Error>(made.error());
      credentials = *made;
    }
    EtcdServer server;
    server.name = endpoint;
    server.channel = grpc::CreateCustomChannel(target->address, credentials, channel_arguments());
    server.kv = etcdserverpb::KV::NewStub(server.channel);
    server.lease = etcdserverpb::Lease::NewStub(server.channel);
    server.watch = etcdserverpb::Watch::NewStub(server.channel);
    servers.push_back(std::move(server));
  }
  return servers;
}

}  // namespace testudo::facility
