// SPDX-License-Identifier: Apache-2.0
#include "ike/agreement.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "crypto/advice.h"
#include "ike/transforms.h"

namespace testudo::ike {
namespace {

constexpr std::uint32_t kModeTransport = 1, kModeTunnel = 2;
constexpr unsigned kEncryptionType = 1, kIntegrityType = 3;  // of IKEv2's transforms

bool allows(std::span<const std::string> allowed, crypto::Suite suite) {
  return std::ranges::find(allowed, sizes(suite).name) != allowed.end();
}

/// What RFC 8221 says of an algorithm that is not here: why not to wish for it.
std::string advice_on(unsigned type, std::uint32_t number) {
  const crypto::Unfit* unfit = crypto::unfit(type, number);
  if (unfit == nullptr) return "";
  return fmt::format(" ({} in RFC 8221 section {})", to_string(unfit->advice), unfit->section);
}

/// One child's objections, each text once.
class Child {
 public:
  Child(const ChildConfiguration& child, std::span<const std::string> allowed, std::vector<Objection>& out)
      : child_(child), allowed_(allowed), out_(out) {}

  void check() {
    if (child_.mode != kModeTransport && child_.mode != kModeTunnel)
      refuse("its mode is neither tunnel nor transport: set mode = tunnel or transport");
    if (child_.ipcomp) refuse("IPComp is not supported: set ipcomp = no");
    if (child_.sha256_96) refuse("HMAC-SHA2-256 with 96 bits is not supported: set sha256_96 = no");
    for (const Proposal& proposal : child_.proposals) {
      proposal.protocol == ipsec::Protocol::kAh ? check_ah(proposal) : check_esp(proposal);
    }
  }

 private:
  void object(std::string text, bool refused) {
    text = fmt::format("connection {}, child {}: {}", child_.connection, child_.child, text);
    const bool known = std::ranges::any_of(out_, [&](const Objection& o) { return o.text == text; });
    if (!known) out_.push_back({std::move(text), refused});
  }
  void refuse(std::string text) { object(std::move(text), true); }

  void unknown(const Proposal& proposal, unsigned type, const Transform& t) {
    const bool ah = proposal.protocol == ipsec::Protocol::kAh;
    std::string name = type == kEncryptionType ? encryption_name(t.number) : integrity_name(t.number);
    if (t.key_bits != 0) name += fmt::format(" with {} bits", t.key_bits);
    refuse(fmt::format("{} proposal with {}{}: the engine has no such algorithm. Write {}", ah ? "AH" : "ESP", name,
                       advice_on(type, t.number), supported_proposals(proposal.protocol)));
  }

  void check_ah(const Proposal& proposal) {
    for (const Transform& integrity : proposal.integrity) {
      const auto key = integrity_key_size(integrity.number);
      key ? check(proposal, {}, 0, integrity, *key) : unknown(proposal, kIntegrityType, integrity);
    }
  }

  void check_esp(const Proposal& proposal) {
    for (const Transform& encryption : proposal.encryption) {
      const auto key = encryption_key_size(encryption.number, encryption.key_bits);
      if (!key) {
        unknown(proposal, kEncryptionType, encryption);
      } else if (is_aead(encryption.number) || proposal.integrity.empty()) {
        check(proposal, encryption, *key, {}, 0);
      } else {
        with_each_integrity(proposal, encryption, *key);
      }
    }
  }

  void with_each_integrity(const Proposal& proposal, const Transform& encryption, std::size_t encryption_key) {
    for (const Transform& integrity : proposal.integrity) {
      const auto key = integrity_key_size(integrity.number);
      key ? check(proposal, encryption, encryption_key, integrity, *key)
          : unknown(proposal, kIntegrityType, integrity);
    }
  }

  void check(const Proposal& proposal, const Transform& encryption, std::size_t encryption_key,
             const Transform& integrity, std::size_t integrity_key) {
    const auto suite = suite_of({.protocol = proposal.protocol,
                                 .encryption = encryption.number,
                                 .encryption_key = encryption_key,
                                 .integrity = integrity.number,
                                 .integrity_key = integrity_key});
    if (!suite) return refuse(suite.error().message);
    if (auto fit = check_advice(*suite, allowed_); !fit) return refuse(fit.error().message);
    const crypto::Advice advice = crypto::advice(*suite);
    if (advice == crypto::Advice::kMustMinus || advice == crypto::Advice::kShouldNot) {
      object(fmt::format("{} is {} in RFC 8221: prefer another proposal, such as aes256gcm16", sizes(*suite).name,
                         to_string(advice)),
             false);
    }
  }

  const ChildConfiguration& child_;
  std::span<const std::string> allowed_;
  std::vector<Objection>& out_;
};

}  // namespace

Result<void> check_advice(crypto::Suite suite, std::span<const std::string> allowed) {
  if (!crypto::forbidden(suite) || allows(allowed, suite)) return {};
  return fail(fmt::format("{} is MUST NOT in RFC 8221: take it out of the proposals, or name it in [ipsec] allow",
                          sizes(suite).name));
}

std::vector<Objection> objections(const std::vector<ChildConfiguration>& children,
                                  std::span<const std::string> allowed) {
  std::vector<Objection> out;
  for (const ChildConfiguration& child : children) Child(child, allowed, out).check();
  return out;
}

}  // namespace testudo::ike
