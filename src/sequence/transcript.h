// SPDX-License-Identifier: Apache-2.0
// For tests: transcripts that read aloud. A file has lines of input; what the machine answers follows each as lines
// that begin with "> ". The test runs the input and compares. With TESTUDO_REWRITE=1 in the environment it writes
// what it got.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "wire/fast.h"

namespace testudo::sequence {

using Words = std::vector<std::string>;

inline Words words_of(const std::string& line) {
  std::istringstream stream(line);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

/// "#7" → 7, "want=44" → 44, "12" → 12.
inline std::uint64_t number_of(const std::string& word) {
  const std::size_t digits = word.find_first_of("0123456789");
  return digits == std::string::npos ? 0 : std::stoull(word.substr(digits));
}

/// The id of a lease: "#7" of a request, "#o7" of an offer.
inline std::uint64_t lease_of(const std::string& word) {
  return number_of(word) | (word.starts_with("#o") ? wire::LeaseOffer::kIds : 0);
}
inline std::string lease_text(std::uint64_t id) {
  const bool offer = (id & wire::LeaseOffer::kIds) != 0;
  return (offer ? "#o" : "#") + std::to_string(id & ~wire::LeaseOffer::kIds);
}

/// What follows `name` in the line; 0 when it is not there.
inline std::uint64_t number_after(const Words& words, const std::string& name) {
  for (std::size_t i = 0; i + 1 < words.size(); ++i) {
    if (words[i] == name) return number_of(words[i + 1]);
  }
  return 0;
}

inline bool has(const Words& words, const std::string& name) {
  return std::find(words.begin(), words.end(), name) != words.end();
}

/// `run` gets the words of one line and returns the lines of the answer.
inline void check_transcript(const std::string& path, const std::function<Words(const Words&)>& run) {
  std::ifstream file(path);
  ASSERT_TRUE(file.good()) << path << " must be readable from the project's root";
  std::string expected, got;
  for (std::string line; std::getline(file, line);) {
    expected += line + "\n";
    if (line.starts_with("> ")) continue;
    got += line + "\n";
    if (line.empty() || line.starts_with("#")) continue;
    for (const std::string& answer : run(words_of(line))) got += "> " + answer + "\n";
  }
  if (std::getenv("TESTUDO_REWRITE") != nullptr) std::ofstream(path) << got;
  EXPECT_EQ(got, expected) << path;
}

}  // namespace testudo::sequence
