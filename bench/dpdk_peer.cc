// SPDX-License-Identifier: Apache-2.0
#include "bench/dpdk_peer.h"

#include <rte_cryptodev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ipsec.h>
#include <rte_ipsec_sad.h>
#include <rte_malloc.h>
#include <rte_mbuf.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/check.h"
#include "bench/dpdk_xform.h"

namespace testudo::bench {
namespace {

constexpr std::uint16_t kQueue = 0;
constexpr std::uint8_t kDevice = 0;

std::string name_of(const char* kind) {
  static unsigned count = 0;
  return kind + std::to_string(count++);
}

int this_core() {
  cpu_set_t set;
  CHECK(sched_getaffinity(0, sizeof set, &set) == 0);
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(core, &set)) return core;
  }
  return 0;
}

rte_mempool* packet_pool() {
  static rte_mempool* pool =
      rte_pktmbuf_pool_create("packets", 2 * kTurn, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
  return pool;
}

/// All peers use the same, as they would a network card's.
std::array<rte_mbuf*, kTurn>& packets() {
  static std::array<rte_mbuf*, kTurn> all = [] {
    std::array<rte_mbuf*, kTurn> made;
    CHECK(rte_pktmbuf_alloc_bulk(packet_pool(), made.data(), kTurn) == 0);
    return made;
  }();
  return all;
}

/// kBurst for each peer.
rte_mempool* operation_pool() {
  static rte_mempool* pool =
      rte_crypto_op_pool_create("operations", RTE_CRYPTO_OP_TYPE_SYMMETRIC, 4096, 0, kIvRoom, SOCKET_ID_ANY);
  return pool;
}

class DpdkPeer final : public Contender {
 public:
  DpdkPeer(const Case& which, const DpdkOptions& options);
  void load(const Turn& turn) override;
  std::size_t run() override;

 private:
  /// Consecutive packets of one SA.
  struct Run {
    rte_ipsec_session* session;
    rte_mbuf** packets;
    std::uint16_t count;
  };
  [[nodiscard]] bool outbound() const { return which_.direction == Direction::kOutbound; }
  void add_sa(std::uint32_t sa);
  void make_sad();
  std::size_t find_sessions(std::size_t first, std::span<Run> runs);
  std::size_t cpu(std::span<const Run> runs);
  std::size_t device(std::span<const Run> runs);

  Case which_;
  DpdkOptions options_;
  rte_mempool* session_pool_ = nullptr;
  rte_ipsec_session* sessions_ = nullptr;
  rte_ipsec_sad* sad_ = nullptr;
  std::array<rte_mbuf*, kTurn>& mbufs_ = packets();
  std::array<std::uint32_t, kTurn> sa_of_{};
  std::array<rte_mbuf*, kTurn> work_{};  // the library reorders what it is given
  std::array<rte_crypto_op*, kBurst> operations_{};
};

DpdkPeer::DpdkPeer(const Case& which, const DpdkOptions& options) : which_(which), options_(options) {
  const unsigned size = rte_cryptodev_sym_get_private_session_size(kDevice);
  session_pool_ =
      rte_cryptodev_sym_session_pool_create(name_of("sessions").c_str(), which.sas + 64, size, 0, 0, SOCKET_ID_ANY);
  CHECK(session_pool_ != nullptr);
  sessions_ = static_cast<rte_ipsec_session*>(
      rte_zmalloc(nullptr, which.sas * sizeof(rte_ipsec_session), RTE_CACHE_LINE_SIZE));
  CHECK(sessions_ != nullptr);
  for (std::uint32_t sa = 0; sa < which.sas; ++sa) add_sa(sa);
  if (options.lookup && !outbound()) make_sad();
  CHECK(rte_crypto_op_bulk_alloc(operation_pool(), RTE_CRYPTO_OP_TYPE_SYMMETRIC, operations_.data(), kBurst) ==
        kBurst);
}

void DpdkPeer::add_sa(std::uint32_t sa) {
  DpdkXform xform(which_, sa);
  const int size = rte_ipsec_sa_size(&xform.parameters);
  CHECK(size > 0);
  auto* made =
      static_cast<rte_ipsec_sa*>(rte_zmalloc(nullptr, static_cast<std::size_t>(size), RTE_CACHE_LINE_SIZE));
  CHECK(made != nullptr && rte_ipsec_sa_init(made, &xform.parameters, static_cast<std::uint32_t>(size)) == size);
  rte_ipsec_session& session = sessions_[sa];
  session.sa = made;
  session.type =
      options_.mode == DpdkMode::kCpu ? RTE_SECURITY_ACTION_TYPE_CPU_CRYPTO : RTE_SECURITY_ACTION_TYPE_NONE;
  session.crypto.dev_id = kDevice;
  session.crypto.ses = static_cast<rte_cryptodev_sym_session*>(
      rte_cryptodev_sym_session_create(kDevice, xform.parameters.crypto_xform, session_pool_));
  CHECK(session.crypto.ses != nullptr);
  CHECK(rte_ipsec_session_prepare(&session) == 0);
}

void DpdkPeer::make_sad() {
  const rte_ipsec_sad_conf config = {
      .socket_id = SOCKET_ID_ANY, .max_sa = {std::max(2 * which_.sas, 64u), 0, 0}, .flags = 0};
  sad_ = rte_ipsec_sad_create(name_of("sad").c_str(), &config);
  CHECK(sad_ != nullptr);
  for (std::uint32_t sa = 0; sa < which_.sas; ++sa) {
    rte_ipsec_sad_key key{};
    key.v4.spi = rte_cpu_to_be_32(kFirstSpi + sa);
    CHECK(rte_ipsec_sad_add(sad_, &key, RTE_IPSEC_SAD_SPI_ONLY, &sessions_[sa]) == 0);
  }
}

// The state in which a driver hands over received packets.
void DpdkPeer::load(const Turn& turn) {
  for (std::size_t i = 0; i < kTurn; ++i) {
    rte_mbuf* m = mbufs_[i];
    rte_pktmbuf_reset(m);
    void* at = rte_pktmbuf_append(m, static_cast<std::uint16_t>(turn[i].bytes.size()));
    std::memcpy(at, turn[i].bytes.data(), turn[i].bytes.size());
    m->l2_len = 0;
    m->l3_len = kOuter;
    sa_of_[i] = turn[i].sa;
  }
}

std::size_t DpdkPeer::run() {
  std::size_t good = 0;
  for (std::size_t i = 0; i < kTurn; i += kBurst) {
    std::array<Run, kBurst> runs;
    const auto found = std::span(runs).first(find_sessions(i, runs));
    good += options_.mode == DpdkMode::kCpu ? cpu(found) : device(found);
  }
  return good;
}

std::size_t DpdkPeer::find_sessions(std::size_t first, std::span<Run> runs) {
  std::array<void*, kBurst> found;
  if (sad_ != nullptr) {
    std::array<const rte_ipsec_sad_key*, kBurst> keys;
    for (std::size_t i = 0; i < kBurst; ++i) {
      keys[i] = rte_pktmbuf_mtod_offset(mbufs_[first + i], const rte_ipsec_sad_key*, kOuter);
    }
    if (rte_ipsec_sad_lookup(sad_, keys.data(), found.data(), kBurst) < 0) return 0;
  } else {
    for (std::size_t i = 0; i < kBurst; ++i) found[i] = &sessions_[sa_of_[first + i]];
  }
  std::size_t count = 0;
  for (std::size_t i = 0; i < kBurst; ++i) {
    if (found[i] == nullptr) continue;
    auto* session = static_cast<rte_ipsec_session*>(found[i]);
    work_[first + i] = mbufs_[first + i];
    if (count != 0 && runs[count - 1].session == session) {
      ++runs[count - 1].count;
    } else {
      runs[count++] = {session, &work_[first + i], 1};
    }
  }
  return count;
}

std::size_t DpdkPeer::cpu(std::span<const Run> runs) {
  std::size_t good = 0;
  for (const Run& run : runs) {
    const std::uint16_t prepared = rte_ipsec_pkt_cpu_prepare(run.session, run.packets, run.count);
    good += rte_ipsec_pkt_process(run.session, run.packets, prepared);
  }
  return good;
}

std::size_t DpdkPeer::device(std::span<const Run> runs) {
  std::uint16_t n = 0;
  for (const Run& run : runs) {
    n = static_cast<std::uint16_t>(
        n + rte_ipsec_pkt_crypto_prepare(run.session, run.packets, operations_.data() + n, run.count));
  }
  const std::uint16_t sent = rte_cryptodev_enqueue_burst(kDevice, kQueue, operations_.data(), n);
  std::array<rte_crypto_op*, kBurst> done;
  std::uint16_t received = 0;
  while (received < sent) {
    received = static_cast<std::uint16_t>(
        received + rte_cryptodev_dequeue_burst(kDevice, kQueue, done.data() + received,
                                               static_cast<std::uint16_t>(kBurst - received)));
  }
  std::array<rte_mbuf*, kBurst> packets;
  std::array<rte_ipsec_group, kBurst> groups;
  const std::uint16_t count = rte_ipsec_pkt_crypto_group(const_cast<const rte_crypto_op**>(done.data()),
                                                         packets.data(), groups.data(), received);
  std::size_t good = 0;
  for (const rte_ipsec_group& group : std::span(groups).first(count)) {
    good += rte_ipsec_pkt_process(static_cast<const rte_ipsec_session*>(group.id.ptr), group.m,
                                  static_cast<std::uint16_t>(group.cnt));
  }
  return good;
}

void die(const char* what) {
  std::fprintf(stderr, "bench: error: DPDK: %s: %s\n", what, rte_strerror(rte_errno));
  std::exit(1);
}

}  // namespace

void start_dpdk() {
  std::string core = std::to_string(this_core());
  std::array<std::string, 12> words = {"bench",       "--no-huge",
                                       "-m",          "1024",
                                       "--no-pci",    "-l",
                                       core,          "--no-telemetry",
                                       "--no-shconf", "--vdev=crypto_aesni_mb0",
                                       "--log-level", "4"};
  std::array<char*, words.size()> arguments;
  std::ranges::transform(words, arguments.begin(), [](std::string& word) { return word.data(); });
  if (rte_eal_init(static_cast<int>(arguments.size()), arguments.data()) < 0) die("cannot start");
  if (rte_cryptodev_count() != 1) die("no crypto device aesni_mb: is librte-crypto-ipsec-mb23 installed?");
  rte_cryptodev_config config{};
  config.nb_queue_pairs = 1;
  if (rte_cryptodev_configure(kDevice, &config) != 0) die("cannot configure the crypto device");
  rte_cryptodev_qp_conf queue{};
  queue.nb_descriptors = 256;
  if (rte_cryptodev_queue_pair_setup(kDevice, kQueue, &queue, SOCKET_ID_ANY) != 0) die("cannot set up a queue");
  if (rte_cryptodev_start(kDevice) != 0) die("cannot start the crypto device");
}

std::unique_ptr<Contender> make_dpdk_peer(const Case& which, const DpdkOptions& options) {
  return std::make_unique<DpdkPeer>(which, options);
}

}  // namespace testudo::bench
