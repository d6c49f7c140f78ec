// SPDX-License-Identifier: Apache-2.0
// What a worker counts. One thread writes, any thread reads (base/drop.h); it lives as long as the worker.
#pragma once

#include "base/drop.h"
#include "distributor/inbound.h"
#include "io/port.h"
#include "target/inbound.h"
#include "target/outbound.h"

namespace testudo::path {

struct WorkerCounters {
  const DropCounters* drops = nullptr;
  const distributor::InboundCounters* owner_inbound = nullptr;
  const target::InboundCounters* target_inbound = nullptr;
  const target::OutboundCounters* target_outbound = nullptr;
  const io::PortCounters* tun = nullptr;
  const io::PortCounters* raw = nullptr;
  const io::PortCounters* xcf_data = nullptr;
  const io::PortCounters* xcf_fast = nullptr;
};

}  // namespace testudo::path
