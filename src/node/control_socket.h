// SPDX-License-Identifier: Apache-2.0
// ControlSocket: the node's Unix stream socket, where `testudo status` and its like ask. A request is one line of
// JSON,
// {"command": "status"}, the answer one line with a JSON object; docs/commands.md has the schema of each. Several
// requests may follow each other on one connection. Runs on the control thread's loop, never blocks it.
//
//   auto socket = node::ControlSocket::open(loop, config.control.socket, config.control.group,
//       [&](const node::ControlSocket::Request& request, node::ControlSocket::Reply reply) {
//         if (request.command == "status") return reply(status_json());
//         if (request.command == "connections") return ask_worker([reply](auto list) { reply(list_json(list)); });
//         reply(node::ControlSocket::unknown_command(request.command));
//       });
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/result.h"

namespace testudo::io {
class Loop;
}

namespace testudo::node {

class ControlSocket {
 public:
  struct Request {
    std::string command;
    nlohmann::json arguments;  // the whole object
    bool privileged = false;   // the asker is root, or the user that the node runs as
  };
  /// May be called now or later on the same thread, once; does nothing when the asker is gone.
  using Reply = std::function<void(const nlohmann::json&)>;
  using Handler = std::function<void(const Request& request, Reply reply)>;

  /// Makes the socket with mode 0600, or 0660 and `group` if that is not empty. A socket file that nobody answers
  /// on is replaced; if a live node answers there, an error says so. The file goes when the object does.
  static Result<std::unique_ptr<ControlSocket>> open(io::Loop& loop, const std::string& path,
                                                     const std::string& group, Handler handler);
  /// {"error": "…"}: the shape of every refusal.
  static nlohmann::json unknown_command(const std::string& command);

  ControlSocket() = default;
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  virtual ~ControlSocket() = default;
};

}  // namespace testudo::node
