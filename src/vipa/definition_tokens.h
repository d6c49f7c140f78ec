// SPDX-License-Identifier: Apache-2.0
// The definition block as words, and its keywords. Used by the parser alone.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "vipa/definition.h"

namespace testudo::vipa::definition {

struct Token {
  std::string_view text;  // into the parsed text
  Position at;
};

/// Words are separated by blanks, line ends and commas; ";" begins a comment that ends with the line.
[[nodiscard]] std::vector<Token> tokenize(std::string_view text);

// Keywords as the manuals write them: the part in upper case is the shortest form.
inline constexpr std::string_view kVipaDynamic = "VIPADYNamic";
inline constexpr std::string_view kEndVipaDynamic = "ENDVIPADYNamic";
inline constexpr std::string_view kVipaDefine = "VIPADEFine";
inline constexpr std::string_view kVipaBackup = "VIPABackup";
inline constexpr std::string_view kVipaDistribute = "VIPADISTribute";
inline constexpr std::string_view kVipaRange = "VIPARange";
inline constexpr std::string_view kVipaDelete = "VIPADELete";
inline constexpr std::array kStatements = {kVipaDynamic,    kEndVipaDynamic, kVipaDefine, kVipaBackup,
                                           kVipaDistribute, kVipaRange,      kVipaDelete};

inline constexpr std::string_view kDefine = "DEFINE";
inline constexpr std::string_view kDelete = "DELETE";
inline constexpr std::string_view kMoveable = "MOVEable";
inline constexpr std::string_view kImmediate = "IMMEDiate";
inline constexpr std::string_view kWhenIdle = "WHENIDLE";
inline constexpr std::string_view kNonDisruptive = "NONDISRUPTive";
inline constexpr std::string_view kDisruptive = "DISRUPTive";
inline constexpr std::string_view kPort = "PORT";
inline constexpr std::string_view kDestIp = "DESTIP";
inline constexpr std::string_view kAll = "ALL";

/// `word` is `keyword` or an allowed shorter form, in any case.
[[nodiscard]] bool is(std::string_view word, std::string_view keyword);
/// The statement that `word` begins; nothing if it begins none.
[[nodiscard]] std::optional<std::string_view> statement_of(std::string_view word);
/// Meant to be a statement, even if it is none: begins with VIPA or ENDVIPA.
[[nodiscard]] bool looks_like_statement(std::string_view word);
/// "VIPADEFine" → "VIPADEFINE".
[[nodiscard]] std::string upper(std::string_view keyword);

}  // namespace testudo::vipa::definition
