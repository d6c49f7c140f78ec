// SPDX-License-Identifier: Apache-2.0
// Published test vectors of the integrity algorithms, on both backends, as AH uses them: whole messages, ICVs cut
// to size. (HMAC pads short keys with zeros itself, RFC 2104 section 2: shorter keys of the RFCs are padded here.)
#include <gtest/gtest.h>

#include <algorithm>

#include "crypto/frame_for_test.h"

namespace testudo::crypto {
namespace {

class AuthVectors : public testing::TestWithParam<Backend> {
 protected:
  /// The ICV of a message as it is, without ESN.
  Bytes icv(Integrity integrity, Bytes key, Bytes message, Bytes iv = {}) {
    const Suite suite{Cipher::kNone, integrity};
    key.resize(sizes(suite).key);
    const auto context = context_of(*engine_, suite, key);
    Bytes out(sizes(suite).icv);
    const AuthFrame frame{.context = context.get(),
                          .data = message.data(),
                          .size = static_cast<std::uint32_t>(message.size()),
                          .sequence_high = 0,
                          .iv = iv.data(),
                          .icv = out.data()};
    engine_->sign({&frame, 1});
    EXPECT_EQ(engine_->verify({&frame, 1}), 1u);
    return out;
  }
  std::unique_ptr<Engine> engine_ = engine_of(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Backends, AuthVectors, testing::Values(Backend::kIpsecMb, Backend::kOpenssl),
                         [](const auto& p) { return p.param == Backend::kIpsecMb ? "IpsecMb" : "Openssl"; });

Bytes cut(const char* hex, std::size_t size) {
  Bytes bytes = from_hex(hex);
  bytes.resize(size);
  return bytes;
}

const Bytes kHiThere = from_hex("4869205468657265");
const Bytes kJefe = from_hex("4a656665");
const Bytes kWhat = from_hex("7768617420646f2079612077616e7420666f72206e6f7468696e673f");

// RFC 2202 section 3, cases 1 to 3.
TEST_P(AuthVectors, HmacSha1) {
  EXPECT_EQ(icv(Integrity::kHmacSha1, Bytes(20, 0x0b), kHiThere),
            cut("b617318655057264e28bc0b6fb378c8ef146be00", 12));
  EXPECT_EQ(icv(Integrity::kHmacSha1, kJefe, kWhat), cut("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", 12));
  EXPECT_EQ(icv(Integrity::kHmacSha1, Bytes(20, 0xaa), Bytes(50, 0xdd)),
            cut("125d7342b9ac11cd91a39af48aa17b4f63f175d3", 12));
}

struct Sha2Vector {
  Bytes key, message;
  const char *sha256, *sha384, *sha512;
};

// RFC 4231 section 4, cases 1 to 4.
TEST_P(AuthVectors, HmacSha2) {
  const Sha2Vector vectors[] = {
      {Bytes(20, 0x0b), kHiThere, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
       "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
       "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
       "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"},
      {kJefe, kWhat, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
       "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
       "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
       "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
      {Bytes(20, 0xaa), Bytes(50, 0xdd), "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
       "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
       "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
       "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"},
      {counting(25, 1), Bytes(50, 0xcd), "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
       "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
       "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3db"
       "a91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd"},
  };
  for (const Sha2Vector& v : vectors) {
    EXPECT_EQ(icv(Integrity::kHmacSha256, v.key, v.message), cut(v.sha256, 16));
    EXPECT_EQ(icv(Integrity::kHmacSha384, v.key, v.message), cut(v.sha384, 24));
    EXPECT_EQ(icv(Integrity::kHmacSha512, v.key, v.message), cut(v.sha512, 32));
  }
}

// RFC 3566 section 4.6, cases 2 to 7 (case 1 is the empty message, which no AH packet is).
TEST_P(AuthVectors, AesXcbc) {
  const Bytes key = counting(16, 0);
  const auto mac = [&](Bytes message) { return icv(Integrity::kAesXcbc, key, std::move(message)); };
  EXPECT_EQ(mac(counting(3, 0)), from_hex("5b376580ae2f19afe7219cee"));
  EXPECT_EQ(mac(counting(16, 0)), from_hex("d2a246fa349b68a79998a439"));
  EXPECT_EQ(mac(counting(20, 0)), from_hex("47f51b4564966215b8985c63"));
  EXPECT_EQ(mac(counting(32, 0)), from_hex("f54f0ec8d2b9f3d36807734b"));
  EXPECT_EQ(mac(counting(34, 0)), from_hex("becbb3bccdb518a30677d548"));
  EXPECT_EQ(mac(Bytes(1000, 0)), from_hex("f0dafee895db30253761103b"));
}

// RFC 4494 section 4, which are RFC 4493's, cases 2 to 4.
TEST_P(AuthVectors, AesCmac) {
  const Bytes key = from_hex("2b7e151628aed2a6abf7158809cf4f3c");
  const Bytes message = from_hex(
      "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
      "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
  const auto mac = [&](std::size_t size) {
    return icv(Integrity::kAesCmac, key,
               Bytes(message.begin(), message.begin() + static_cast<std::ptrdiff_t>(size)));
  };
  EXPECT_EQ(mac(16), from_hex("070a16b46b4d4144f79bdd9d"));
  EXPECT_EQ(mac(40), from_hex("dfa66747de9ae63030ca3261"));
  EXPECT_EQ(mac(64), from_hex("51f0bebf7e3b9d92fc497417"));
}

// The message and the ICV of draft-mcgrew-gcm-test-01's ENCR_NULL_AUTH_AES_GMAC: AH computes its ICV alike (RFC
// 4543 section 4), over what AH covers.
TEST_P(AuthVectors, AesGmac) {
  const Bytes message = from_hex(
      "00004321 00000007 0000000000000000"
      "45000030da3a00008001df3bc0a80005c0a800010800c6cd020007006162636465666768696a6b6c6d6e6f7071727374 01020201");
  EXPECT_EQ(icv(Integrity::kAesGmac128, from_hex("4c80cdefbb5d10da906ac73c3613a634 22433c64"), message, Bytes(8)),
            from_hex("f2a9a836e155106aa8dcd618e4099aaa"));
}

}  // namespace
}  // namespace testudo::crypto
