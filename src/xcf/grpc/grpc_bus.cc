// SPDX-License-Identifier: Apache-2.0
#include "xcf/grpc/grpc_bus.h"

#include <utility>

#include "facility/grpc_threads.h"
#include "xcf/grpc/links.h"

namespace testudo::xcf {

struct GrpcBus::Core {
  explicit Core(std::unique_ptr<Links> links_in) : links(std::move(links_in)) {}
  std::unique_ptr<Links> links;
};

Result<std::unique_ptr<GrpcBus>> GrpcBus::listen(Executor& executor, GrpcOptions options) {
  facility::keep_grpc_threads();
  auto credentials = load_credentials(options);
  if (!credentials) return tl::unexpected<Error>(credentials.error());
  auto in_flight = std::make_shared<facility::InFlight>();
  auto listener = Listener::bind(options, *credentials, executor, in_flight);
  if (!listener) return tl::unexpected<Error>(listener.error());
  auto links = std::make_unique<Links>(executor, std::move(options), std::move(*credentials), std::move(*listener),
                                       std::move(in_flight));
  return std::unique_ptr<GrpcBus>(new GrpcBus(std::make_unique<Core>(std::move(links))));
}

GrpcBus::GrpcBus(std::unique_ptr<Core> core) : core_(std::move(core)) {}
GrpcBus::~GrpcBus() = default;

void GrpcBus::start(v1::Hello self, BusEvents events) { core_->links->start(std::move(self), std::move(events)); }
void GrpcBus::add_member(const Member& member) { core_->links->add_member(member); }
void GrpcBus::remove_member(const std::string& name) { core_->links->remove_member(name); }
bool GrpcBus::send(const std::string& node, const v1::Envelope& message) {
  return core_->links->send(node, message);
}
Endpoint GrpcBus::endpoint() const { return core_->links->endpoint(); }

}  // namespace testudo::xcf
