// SPDX-License-Identifier: Apache-2.0
// UdpReceiver: the receiving half of a UdpPort. Reads several GRO trains at once, hands out their datagrams one by
// one.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/address.h"
#include "io/port.h"
#include "io/socket_address.h"
#include "wire/packet.h"

namespace testudo::io {

class UdpReceiver {
 public:
  /// `buffers` of 64 KiB.
  UdpReceiver(std::size_t buffers, Endpoint local);

  /// Hands out what the last read has left over, or else reads.
  [[nodiscard]] std::size_t receive(int socket, std::span<wire::Packet> out, PortCounters& counters);

 private:
  struct Train {
    std::uint8_t* data = nullptr;
    std::uint32_t left = 0;     // bytes
    std::uint32_t segment = 0;  // bytes
    wire::Packet prototype;     // all that the packets of a train share
  };
  void read(int socket, PortCounters& counters);
  [[nodiscard]] Train train_of(std::size_t index);
  static void take_control(Train& train, const cmsghdr* control);
  [[nodiscard]] std::size_t hand_out(std::span<wire::Packet> out, PortCounters& counters);

  struct alignas(cmsghdr) Control {
    std::array<std::uint8_t, 128> bytes;
  };
  Endpoint local_;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::vector<mmsghdr> messages_;
  std::vector<iovec> pieces_;
  std::vector<SocketAddress> sources_;
  std::vector<Control> controls_;
  std::vector<Train> trains_;
  std::size_t next_train_ = 0;  // index into trains_ of the first that is not handed out entirely
  std::size_t trains_read_ = 0;
  std::uint32_t train_number_ = 0;
};

}  // namespace testudo::io
