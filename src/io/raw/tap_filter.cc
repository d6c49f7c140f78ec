// SPDX-License-Identifier: Apache-2.0
#include "io/raw/tap_filter.h"

#include <linux/if_packet.h>

#include <cstdint>

namespace testudo::io {
namespace {

constexpr std::uint32_t kIp = kEthernetHeaderSize;  // where the IP header starts
constexpr std::uint32_t kTakeAll = 0x40000;         // bytes: more than any packet has

sock_filter statement(int code, std::uint32_t k) { return {static_cast<std::uint16_t>(code), 0, 0, k}; }
/// `yes`, `no`: instructions to skip.
sock_filter jump(int code, std::uint32_t k, std::uint8_t yes, std::uint8_t no) {
  return {static_cast<std::uint16_t>(code), yes, no, k};
}

}  // namespace

std::vector<sock_filter> tap_filter(std::span<const IpAddress> owned) {
  const auto n = static_cast<std::uint32_t>(owned.size());
  std::vector<sock_filter> program = {
      statement(BPF_LD | BPF_B | BPF_ABS, static_cast<std::uint32_t>(SKF_AD_OFF + SKF_AD_PKTTYPE)),
      jump(BPF_JMP | BPF_JEQ | BPF_K, PACKET_HOST, 1, 0), statement(BPF_RET | BPF_K, 0),
      statement(BPF_LD | BPF_W | BPF_ABS, kIp + 16),  // destination
  };
  // A conditional jump reaches 255 instructions, an unconditional one any distance.
  for (std::uint32_t i = 0; i < n; ++i) {
    program.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, owned[i].value(), 0, 1));
    program.push_back(statement(BPF_JMP | BPF_JA, 2 * (n - 1 - i) + 1));
  }
  const sock_filter owned_destination[] = {
      statement(BPF_RET | BPF_K, 0),                   // none matched
      statement(BPF_LD | BPF_B | BPF_ABS, kIp + 9),    // protocol
      jump(BPF_JMP | BPF_JEQ | BPF_K, 17, 1, 0),       // UDP?
      statement(BPF_RET | BPF_K, kTakeAll),            //
      statement(BPF_LD | BPF_H | BPF_ABS, kIp + 6),    // fragment offset
      jump(BPF_JMP | BPF_JSET | BPF_K, 0x1fff, 4, 0),  // a later fragment: leave it
      statement(BPF_LDX | BPF_B | BPF_MSH, kIp),       // X = IP header length
      statement(BPF_LD | BPF_H | BPF_IND, kIp + 2),    // destination port
      jump(BPF_JMP | BPF_JEQ | BPF_K, 500, 1, 0),      //
      jump(BPF_JMP | BPF_JEQ | BPF_K, 4500, 0, 1),     //
      statement(BPF_RET | BPF_K, 0),                   //
      statement(BPF_RET | BPF_K, kTakeAll),
  };
  program.insert(program.end(), std::begin(owned_destination), std::end(owned_destination));
  return program;
}

}  // namespace testudo::io
