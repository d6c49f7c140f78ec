// SPDX-License-Identifier: Apache-2.0
// Published test vectors of ESP's suites but GCM (vectors_test.cc), as whole packets, on both backends.
#include <gtest/gtest.h>

#include <string>

#include "crypto/frame_for_test.h"

namespace testudo::crypto {
namespace {

class EspVectors : public testing::TestWithParam<Backend> {
 protected:
  /// Seals `plain` behind `head` (SPI, sequence number, IV), and opens it again.
  Bytes sealed(Suite suite, const Bytes& key, const Bytes& head, const Bytes& plain, Esn esn = Esn::kNo) {
    const auto context = context_of(*engine_, suite, key, esn);
    Bytes bytes = concat({head, plain, Bytes(sizes(suite).icv)});
    const Frame frame = frame_of(*context, bytes, 0x87654321);  // read with ESN only
    engine_->seal({&frame, 1});
    const Bytes result = bytes;
    EXPECT_EQ(engine_->open({&frame, 1}), 1u);
    bytes.resize(bytes.size() - sizes(suite).icv);
    EXPECT_EQ(bytes, concat({head, plain}));
    return result;
  }
  std::unique_ptr<Engine> engine_ = engine_of(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Backends, EspVectors, testing::Values(Backend::kIpsecMb, Backend::kOpenssl),
                         [](const auto& p) { return p.param == Backend::kIpsecMb ? "IpsecMb" : "Openssl"; });

struct CtrVector {
  Cipher cipher;
  const char *key, *nonce, *iv, *plain, *cipher_text;
};

// RFC 3686 section 6, cases 1 to 5, 7 and 8.
constexpr CtrVector kCtr[] = {
    {Cipher::kAesCtr128, "ae6852f8121067cc4bf7a5765577f39e", "00000030", "0000000000000000",
     "53696e676c6520626c6f636b206d7367", "e4095d4fb7a7b3792d6175a3261311b8"},
    {Cipher::kAesCtr128, "7e24067817fae0d743d6ce1f32539163", "006cb6db", "c0543b59da48d90b",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28"},
    {Cipher::kAesCtr128, "7691be035e5020a8ac6e618529f9a0dc", "00e0017b", "27777f3f4a1786f0",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
     "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f"},
    {Cipher::kAesCtr192, "16af5b145fc9f579c175f93e3bfb0eed863d06ccfdb78515", "00000048", "36733c147d6d93cb",
     "53696e676c6520626c6f636b206d7367", "4b55384fe259c9c84e7935a003cbe928"},
    {Cipher::kAesCtr192, "7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a", "0096b03b", "020c6eadc2cb500d",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00"},
    {Cipher::kAesCtr256, "776beff2851db06f4c8a0542c8696f6c6a81af1eec96b4d37fc1d689e6c1c104", "00000060",
     "db5672c97aa8f0b2", "53696e676c6520626c6f636b206d7367", "145ad01dbf824ec7560863dc71e3e0c0"},
    {Cipher::kAesCtr256, "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884", "00faac24",
     "c1585ef15a43d875", "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c"},
};

TEST_P(EspVectors, Ctr) {
  for (const CtrVector& v : kCtr) {
    SCOPED_TRACE(v.key);
    const Bytes key = concat({from_hex(v.key), from_hex(v.nonce), Bytes(32, 0xaa)});
    const Bytes head = concat({from_hex("00001000 00000001"), from_hex(v.iv)});
    Bytes bytes = sealed({v.cipher, Integrity::kHmacSha256}, key, head, from_hex(v.plain));
    bytes.resize(bytes.size() - 16);
    EXPECT_EQ(bytes, concat({head, from_hex(v.cipher_text)}));
  }
}

struct CcmVector {
  Cipher icv8, icv12, icv16;
  const char* cipher_text;
  const char *tag8, *tag8_esn, *tag12, *tag12_esn, *tag16, *tag16_esn;
};

// RFC 4309 has no packets, and RFC 3610's nonces are longer than ESP's: these were computed with a third library,
// Nettle 3.8 (ccm_encrypt_message). Key 40 41 42 …, salt a0a1a2, text 00 01 02 … 33.
constexpr CcmVector kCcm[] = {
    {Cipher::kAesCcm128Icv8, Cipher::kAesCcm128Icv12, Cipher::kAesCcm128Icv16,
     "c6fcee5c4ae5999c7e37ba8e08ea1084c523b416ddc751baca2cb1c494376034"
     "cb42cd32a20a2db1accd0a2f8610c7e57dc0457d",
     "11bbbe3374cbe33a", "0defce18c2059522", "7814ebebdefbc3344f35cac0", "56bedb478a15381d83ea9e12",
     "b900fe9c2dfb9ce8091d6758ccee3b50", "942f056ddf7762bbe7d467e75b60d8a4"},
    {Cipher::kAesCcm192Icv8, Cipher::kAesCcm192Icv12, Cipher::kAesCcm192Icv16,
     "d9fb8d7786b9e7951f2ccd8b1c57efe493745f3901ca2518bb587d0cc28fcea6"
     "54b8e568012ad5eba3991a5925709b586f844a89",
     "8f89335726b51428", "00aa55aa0222805d", "ad6d1685313fdab5b28d1fda", "59b71893f415181a0150bde3",
     "4f29d46adc7d9488a2f4c78bd8918c7c", "dd7d81cd1c4d51ead60b41c36ac661a7"},
    {Cipher::kAesCcm256Icv8, Cipher::kAesCcm256Icv12, Cipher::kAesCcm256Icv16,
     "3257d3070b39b49cac32ae6ee76f1fc6b732805cec9f511a424cd4c75fe7bcbd"
     "5c995a0132f36e5bac4b8ae08b717a1c3202c7d3",
     "f29bbde92dfd7ccc", "4f4605ad67eeafbb", "cd905e29c23a6bf743c542de", "418a36b0dfd95190a5e80b08",
     "c5f968dee78533ab469487d18fa91481", "c961561098cf23ddf89b428e6d6ad6b0"},
};

TEST_P(EspVectors, Ccm) {
  const Bytes head = from_hex("00004321 00000007 1011121314151617");
  const Bytes plain = counting(52, 0);
  for (const CcmVector& v : kCcm) {
    const Cipher ciphers[] = {v.icv8, v.icv8, v.icv12, v.icv12, v.icv16, v.icv16};
    const char* tags[] = {v.tag8, v.tag8_esn, v.tag12, v.tag12_esn, v.tag16, v.tag16_esn};
    for (std::size_t i = 0; i < 6; ++i) {
      const Suite suite{ciphers[i], Integrity::kNone};
      const Bytes key = concat({counting(sizes(suite).key - 3, 0x40), from_hex("a0a1a2")});
      EXPECT_EQ(sealed(suite, key, head, plain, Esn(i % 2 == 1)),
                concat({head, from_hex(v.cipher_text), from_hex(tags[i])}))
          << sizes(suite).name;
    }
  }
}

// RFC 7634 appendix A, the packet of IPsec ESP.
TEST_P(EspVectors, ChaCha20Poly1305) {
  const Bytes key = from_hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3");
  const Bytes head = from_hex("01020304 00000005 1011121314151617");
  const Bytes plain = from_hex(
      "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec1000073627"
      "08090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637 01020204");
  const Bytes expected = from_hex(
      "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7"
      "2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0"
      "76aaa8266b7fb0f7b11b369907e1ad43");
  EXPECT_EQ(sealed(Suite::kChacha20Poly1305, key, head, plain), concat({head, expected}));
}

// draft-mcgrew-gcm-test-01, the case of ENCR_NULL_AUTH_AES_GMAC (RFC 4543).
TEST_P(EspVectors, Gmac) {
  const Bytes key = from_hex("4c80cdefbb5d10da906ac73c3613a634 22433c64");
  const Bytes head = from_hex("00004321 00000007 0000000000000000");
  const Bytes plain = from_hex(
      "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f7071727374 01020201");
  EXPECT_EQ(sealed({Cipher::kNullAesGmac128, Integrity::kNone}, key, head, plain),
            concat({head, plain, from_hex("f2a9a836e155106aa8dcd618e4099aaa")}));
}

}  // namespace
}  // namespace testudo::crypto
