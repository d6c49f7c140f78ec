// SPDX-License-Identifier: Apache-2.0
// Listens on an interface and says what a receiver with a replay window of 32, 64 and 128 would make of the ESP
// packets from one address. In the order in which the interface has received them, before anybody decrypts; nothing
// is stored.
//   bench_replay_audit INTERFACE SOURCE-ADDRESS PACKETS SECONDS-AT-MOST [OUT.json]
//
// Ends after so many packets, or so long, or SIGTERM; prints a line to standard error each second. ESP as protocol
// 50 or in UDP port 4500, over IPv4. `lost`: packets that the kernel could not put into the ring: then nothing is
// proven.
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "base/byte_order.h"
#include "base/check.h"
#include "bench/replay_audit.h"

namespace testudo::bench {
namespace {

constexpr unsigned kBlock = 1 << 20, kBlocks = 128;  // bytes; blocks
constexpr unsigned kSnap = 64;                       // bytes of a frame: up to the sequence number

volatile std::sig_atomic_t stopped = 0;

[[noreturn]] void die(const char* what) {
  std::fprintf(stderr, "audit: error: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

class Ring {
 public:
  explicit Ring(const char* interface) : socket_(socket(AF_PACKET, SOCK_RAW, 0)) {
    if (socket_ < 0) die("AF_PACKET (it needs root)");
    const int version = TPACKET_V3;
    set(PACKET_VERSION, version);
    cut();
    tpacket_req3 request{};
    request.tp_block_size = kBlock;
    request.tp_block_nr = kBlocks;
    request.tp_frame_size = 2048;
    request.tp_frame_nr = kBlock / 2048 * kBlocks;
    request.tp_retire_blk_tov = 20;  // ms
    set(PACKET_RX_RING, request);
    void* memory = mmap(nullptr, std::size_t{kBlock} * kBlocks, PROT_READ | PROT_WRITE, MAP_SHARED, socket_, 0);
    if (memory == MAP_FAILED) die("mmap of the ring");
    memory_ = static_cast<std::uint8_t*>(memory);
    sockaddr_ll to{};
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(ETH_P_IP);
    to.sll_ifindex = static_cast<int>(if_nametoindex(interface));
    if (to.sll_ifindex == 0) die(interface);
    if (bind(socket_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) die("bind");
  }

  template <typename OnFrame>
  void wait(int timeout_ms, OnFrame on_frame) {
    auto* block = reinterpret_cast<tpacket_block_desc*>(memory_ + std::size_t{kBlock} * next_);
    if ((__atomic_load_n(&block->hdr.bh1.block_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER) == 0) {
      pollfd event{.fd = socket_, .events = POLLIN | POLLERR, .revents = 0};
      poll(&event, 1, timeout_ms);
      return;
    }
    auto* at = reinterpret_cast<std::uint8_t*>(block) + block->hdr.bh1.offset_to_first_pkt;
    for (std::uint32_t i = 0; i < block->hdr.bh1.num_pkts; ++i) {
      const auto* frame = reinterpret_cast<const tpacket3_hdr*>(at);
      const auto* from = reinterpret_cast<const sockaddr_ll*>(at + TPACKET_ALIGN(sizeof(tpacket3_hdr)));
      if (from->sll_pkttype != PACKET_OUTGOING) on_frame(*frame, at + frame->tp_mac);
      at += frame->tp_next_offset;
    }
    __atomic_store_n(&block->hdr.bh1.block_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    next_ = (next_ + 1) % kBlocks;
  }
  std::uint64_t lost() {
    tpacket_stats_v3 stats{};
    socklen_t size = sizeof stats;
    getsockopt(socket_, SOL_PACKET, PACKET_STATISTICS, &stats, &size);
    return lost_ += stats.tp_drops;
  }

 private:
  template <typename T>
  void set(int option, const T& value) const {
    if (setsockopt(socket_, SOL_PACKET, option, &value, sizeof value) != 0) die("ring");
  }
  /// A filter that takes everything, but only the beginning of it.
  void cut() const {
    sock_filter code[] = {BPF_STMT(BPF_RET | BPF_K, kSnap)};
    const sock_fprog program{.len = 1, .filter = code};
    if (setsockopt(socket_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) die("filter");
  }

  int socket_;
  std::uint8_t* memory_ = nullptr;
  unsigned next_ = 0;
  std::uint64_t lost_ = 0;
};

std::uint32_t word(const std::uint8_t* at) {
  std::uint32_t value = 0;
  std::memcpy(&value, at, sizeof value);
  return ntohl(value);
}

/// False: no ESP from there.
bool parse(const tpacket3_hdr& frame, const std::uint8_t* at, std::uint32_t source, AuditedPacket& packet) {
  constexpr std::size_t kEthernet = 14;
  const std::uint8_t* ip = at + kEthernet;
  const std::size_t header = (ip[0] & 15u) * 4u, udp = ip[9] == IPPROTO_UDP ? 8 : 0;
  if (frame.tp_snaplen < kEthernet + header + udp + 8 || (ip[0] >> 4) != 4 || word(ip + 12) != source) return false;
  if (udp == 0 && ip[9] != IPPROTO_ESP) return false;
  if (udp != 0 && (word(ip + header) >> 16) != 4500) return false;
  packet.spi = word(ip + header + udp);
  packet.sequence = word(ip + header + udp + 4);
  packet.time_ns = std::uint64_t{frame.tp_sec} * 1'000'000'000 + frame.tp_nsec;
  packet.sender = std::uint64_t{word(at + 6)} << 16 | (word(at + 8) & 0xffff);
  return packet.spi != 0;  // 0: an IKE message
}

int run(const char* interface, std::uint32_t source, std::uint64_t packets, double seconds, const char* path) {
  std::signal(SIGTERM, [](int) { stopped = 1; });
  std::signal(SIGINT, [](int) { stopped = 1; });
  Ring ring(interface);
  ReplayAudit audit;
  std::fprintf(stderr, "audit: listening on %s\n", interface);
  const auto started = std::chrono::steady_clock::now();
  const auto spent = [started] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  };
  double told = 0;
  while (stopped == 0 && audit.packets() < packets && spent() < seconds) {
    ring.wait(100, [&](const tpacket3_hdr& frame, const std::uint8_t* at) {
      AuditedPacket packet;
      if (parse(frame, at, source, packet)) audit.packet(packet);
    });
    if (spent() < told + 1) continue;
    told = spent();
    std::fprintf(stderr, "audit: %llu packets, %llu lost by the capture\n",
                 static_cast<unsigned long long>(audit.packets()), static_cast<unsigned long long>(ring.lost()));
  }
  std::ofstream(path) << "{\"packets\": " << audit.packets() << ", \"lost\": " << ring.lost()
                      << ", \"seconds\": " << spent() << ",\n \"sas\": " << audit.json() << "}\n";
  return 0;
}

}  // namespace
}  // namespace testudo::bench

int main(int argc, char** argv) {
  in_addr source{};
  if (argc < 5 || inet_pton(AF_INET, argv[2], &source) != 1) {
    std::fprintf(stderr, "usage: bench_replay_audit INTERFACE SOURCE-ADDRESS PACKETS SECONDS-AT-MOST [OUT.json]\n");
    return 2;
  }
  return testudo::bench::run(argv[1], ntohl(source.s_addr), std::strtoull(argv[3], nullptr, 10), std::atof(argv[4]),
                             argc > 5 ? argv[5] : "/dev/stdout");
}
