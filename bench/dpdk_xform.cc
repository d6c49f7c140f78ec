// SPDX-License-Identifier: Apache-2.0
#include "bench/dpdk_xform.h"

#include <rte_byteorder.h>

#include <cstring>

namespace testudo::bench {

DpdkXform::DpdkXform(const Case& which, std::uint32_t sa) : key(key_of(*which.suite, sa)) {
  const bool outbound = which.direction == Direction::kOutbound;
  rte_security_ipsec_xform& ipsec = parameters.ipsec_xform;
  ipsec.spi = kFirstSpi + sa;
  ipsec.direction = outbound ? RTE_SECURITY_IPSEC_SA_DIR_EGRESS : RTE_SECURITY_IPSEC_SA_DIR_INGRESS;
  ipsec.proto = RTE_SECURITY_IPSEC_SA_PROTO_ESP;
  ipsec.mode = RTE_SECURITY_IPSEC_SA_MODE_TUNNEL;
  ipsec.tunnel.type = RTE_SECURITY_IPSEC_TUNNEL_IPV4;
  ipsec.replay_win_sz = outbound ? 0 : kWindow;
  set_outer(sa, outbound);
  switch (which.suite->algorithm) {
    case Algorithm::kGcm:
      set_aead(*which.suite, RTE_CRYPTO_AEAD_AES_GCM, outbound);
      break;
    case Algorithm::kChaCha20Poly1305:
      set_aead(*which.suite, RTE_CRYPTO_AEAD_CHACHA20_POLY1305, outbound);
      break;
    case Algorithm::kCbcHmacSha256:
      set_cbc_hmac(*which.suite, outbound);
      break;
  }
  parameters.crypto_xform = &first;
}

void DpdkXform::set_outer(std::uint32_t sa, bool outbound) {
  outer.version_ihl = RTE_IPV4_VHL_DEF;
  outer.time_to_live = 64;
  outer.next_proto_id = IPPROTO_ESP;
  outer.src_addr = rte_cpu_to_be_32(outbound ? kLocal : kFirstRemote + sa);
  outer.dst_addr = rte_cpu_to_be_32(outbound ? kFirstRemote + sa : kLocal);
  parameters.tun.hdr = &outer;
  parameters.tun.hdr_len = sizeof outer;
  parameters.tun.hdr_l3_off = 0;
  parameters.tun.next_proto = IPPROTO_IPIP;
}

void DpdkXform::set_aead(const Suite& suite, rte_crypto_aead_algorithm algorithm, bool outbound) {
  first.type = RTE_CRYPTO_SYM_XFORM_AEAD;
  first.aead.op = outbound ? RTE_CRYPTO_AEAD_OP_ENCRYPT : RTE_CRYPTO_AEAD_OP_DECRYPT;
  first.aead.algo = algorithm;
  first.aead.key = {.data = key.data(), .length = static_cast<std::uint16_t>(suite.cipher_key)};
  first.aead.iv = {.offset = kIvOffset, .length = 12};
  first.aead.digest_length = 16;
  first.aead.aad_length = 8;
  std::memcpy(&parameters.ipsec_xform.salt, key.data() + suite.cipher_key, suite.other_key);
}

// Encrypt, then authenticate; inbound the other way round.
void DpdkXform::set_cbc_hmac(const Suite& suite, bool outbound) {
  rte_crypto_sym_xform& cipher = outbound ? first : second;
  rte_crypto_sym_xform& auth = outbound ? second : first;
  first.next = &second;
  cipher.type = RTE_CRYPTO_SYM_XFORM_CIPHER;
  cipher.cipher.op = outbound ? RTE_CRYPTO_CIPHER_OP_ENCRYPT : RTE_CRYPTO_CIPHER_OP_DECRYPT;
  cipher.cipher.algo = RTE_CRYPTO_CIPHER_AES_CBC;
  cipher.cipher.key = {.data = key.data(), .length = static_cast<std::uint16_t>(suite.cipher_key)};
  cipher.cipher.iv = {.offset = kIvOffset, .length = 16};
  auth.type = RTE_CRYPTO_SYM_XFORM_AUTH;
  auth.auth.op = outbound ? RTE_CRYPTO_AUTH_OP_GENERATE : RTE_CRYPTO_AUTH_OP_VERIFY;
  auth.auth.algo = RTE_CRYPTO_AUTH_SHA256_HMAC;
  auth.auth.key = {.data = key.data() + suite.cipher_key, .length = static_cast<std::uint16_t>(suite.other_key)};
  auth.auth.digest_length = 16;
}

}  // namespace testudo::bench
