// SPDX-License-Identifier: Apache-2.0
// Published test vectors, on both backends.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <string>

#include "crypto/frame_for_test.h"

namespace testudo::crypto {
namespace {

constexpr std::size_t kIcvSize = 16;

class Vectors : public testing::TestWithParam<Backend> {
 protected:
  std::unique_ptr<Engine> engine_ = engine_of(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Backends, Vectors, testing::Values(Backend::kIpsecMb, Backend::kOpenssl),
                         [](const auto& p) { return p.param == Backend::kIpsecMb ? "IpsecMb" : "Openssl"; });

struct GcmVector {
  const char* name;
  Suite suite;
  Esn esn;
  const char *key, *salt, *spi, *high, *low, *iv, *plain, *cipher, *icv;
};

// draft-mcgrew-gcm-test-01, "Test Cases for the Use of Galois/Counter Mode (GCM) and GMAC in IPsec ESP".
constexpr GcmVector kGcm[] = {
    {"ESN", Suite::kAesGcm128Icv16, Esn::kYes, "4c80cdefbb5d10da906ac73c3613a634", "2e443b68", "00004321",
     "87654321", "00000000", "4956ed7e3b244cfe",
     "45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000"
     "00000000045f736970045f756470037369700963796265726369747902646b0000210001"
     "01020201",
     "fecf537e729d5b07dc30df528dd22b768d1b98736696a6fd348509fa13ceac34"
     "cfa2436f14a3f3cf65925bf1f4a13c5d15b21e1884f5ff6247aeabb786b93bce"
     "61bc17d768fd9732",
     "459018148f6cbe722fd04796562dfdb4"},
    {"NoEsn", Suite::kAesGcm128Icv16, Esn::kNo, "feffe9928665731c6d6a8f9467308308", "cafebabe", "0000a5f8",
     "00000000", "0000000a", "facedbaddecaf888",
     "4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100"
     "0001000000000000037369700963796265726369747902646b00000100010001",
     "deb22cd9b07c72c16e3a65beeb8df304a5a5897d33ae530f1ba76d5d114d2a5c"
     "3de81827c10e9a4f51330d0eec416642cfbb85a5b47e48a4ec3b9ba95d918bd1",
     "83b70d3aa8bc6ee4c309e9d85a41ad4a"},
    {"Aes256", Suite::kAesGcm256Icv16, Esn::kNo, "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
     "11223344", "4a2cbfe3", "00000000", "00000002", "0102030405060708",
     "4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000"
     "7002400020bf0000020405b40101040201020201",
     "ff425c9b724599df7a3bcd510194e00d6a78107f1b0b1cbf06efae9d65a5d763"
     "748a637985771d347f0545659f14e99def842d8e",
     "b335f4eecfdbf831824b4c4915956c96"},
};

TEST_P(Vectors, GcmInEsp) {
  for (const GcmVector& v : kGcm) {
    SCOPED_TRACE(v.name);
    const auto context = context_of(*engine_, v.suite, concat({from_hex(v.key), from_hex(v.salt)}), v.esn);
    const Bytes head = concat({from_hex(v.spi), from_hex(v.low), from_hex(v.iv)});
    const Bytes sealed = concat({head, from_hex(v.cipher), from_hex(v.icv)});
    Bytes bytes = concat({head, from_hex(v.plain), Bytes(kIcvSize)});
    const Bytes high_bytes = from_hex(v.high);
    const auto high =
        static_cast<std::uint32_t>(high_bytes[0] << 24 | high_bytes[1] << 16 | high_bytes[2] << 8 | high_bytes[3]);
    const Frame frame = frame_of(*context, bytes, high);
    engine_->seal({&frame, 1});
    EXPECT_EQ(bytes, sealed);
    EXPECT_EQ(engine_->open({&frame, 1}), 1u);
    EXPECT_EQ(Bytes(bytes.begin(), bytes.end() - kIcvSize), concat({head, from_hex(v.plain)}));
  }
}

struct CbcVector {
  const char *key, *iv, *plain, *cipher;
};

// RFC 3602 section 4, cases 1 to 4.
constexpr CbcVector kCbc[] = {
    {"06a9214036b8a15b512e03d534120006", "3dafba429d9eb430b422da802c9fac41", "53696e676c6520626c6f636b206d7367",
     "e353779c1079aeb82708942dbe77181a"},
    {"c286696d887c9aa0611bbb3e2025a45a", "562e17996d093d28ddb3ba695a2e6f58",
     "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
     "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1"},
    {"6c3ea0477630ce21a2ce334aa746c2cd", "c782dc4c098c66cbd9cd27d825682c81",
     "5468697320697320612034382d62797465206d657373616765202865786163746c79203320414553 20626c6f636b7329",
     "d0a02b3836451753d493665d33f0e8862dea54cdb293abc7506939276772f8d5021c19216bad525c8579695d83ba2684"},
    {"56e47a38c5598974bc46903dba290349", "8ce82eefbea0da3c44699ed7db51b7d9",
     "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf"
     "c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
     "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e"
     "35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55"},
};

Bytes hmac_sha256(std::span<const std::uint8_t> key, std::span<const std::uint8_t> data) {
  Bytes digest(32);
  CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), data.data(), data.size(), digest.data(),
             nullptr));
  return digest;
}

TEST_P(Vectors, CbcInEspWithHmacOverAllOfIt) {
  const Bytes hmac_key(32, 0xaa);
  for (const CbcVector& v : kCbc) {
    SCOPED_TRACE(v.key);
    const auto context = context_of(*engine_, Suite::kAesCbc128HmacSha256, concat({from_hex(v.key), hmac_key}));
    const Bytes head = concat({from_hex("00001000 00000001"), from_hex(v.iv)});
    Bytes bytes = concat({head, from_hex(v.plain), Bytes(kIcvSize)});
    const Frame frame = frame_of(*context, bytes);
    engine_->seal({&frame, 1});
    const Bytes text = concat({head, from_hex(v.cipher)});
    Bytes icv = hmac_sha256(hmac_key, text);
    icv.resize(kIcvSize);
    EXPECT_EQ(bytes, concat({text, icv}));

    Bytes peeked(from_hex(v.plain).size());
    const PeekRequest request{context.get(), bytes.data(), static_cast<std::uint32_t>(peeked.size()),
                              peeked.data()};
    engine_->peek({&request, 1});
    EXPECT_EQ(peeked, from_hex(v.plain));
    EXPECT_EQ(engine_->open({&frame, 1}), 1u);
    EXPECT_EQ(Bytes(bytes.begin() + 24, bytes.end() - kIcvSize), from_hex(v.plain));
  }
}

// What the engines' HMACs are compared with above is itself right: RFC 4231 cases 1 and 3, RFC 4868
// section 2.7.2.1.
TEST(Reference, HmacSha256) {
  const std::string hi = "Hi There";
  const auto data = std::span(reinterpret_cast<const std::uint8_t*>(hi.data()), hi.size());
  EXPECT_EQ(hmac_sha256(Bytes(20, 0x0b), data),
            from_hex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"));
  EXPECT_EQ(hmac_sha256(Bytes(20, 0xaa), Bytes(50, 0xdd)),
            from_hex("773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"));
  EXPECT_EQ(hmac_sha256(Bytes(32, 0x0b), data),
            from_hex("198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7"));
}

}  // namespace
}  // namespace testudo::crypto
