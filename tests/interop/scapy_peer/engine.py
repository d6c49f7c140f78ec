# SPDX-License-Identifier: Apache-2.0
"""The engine as a program that protects and opens single packets: one JSON object a line, in and out."""
import json
import subprocess


class Engine:
    def __init__(self, program):
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=10)

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the engine ended with status {self.process.wait(timeout=10)} on {request}"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer

    def install(self, **sa):
        """Answers the SA's id."""
        return self.ask(op="install", **sa)["id"]

    def protect(self, sa, sequence, packet):
        """Answers the whole outer packet."""
        return bytes.fromhex(self.ask(op="protect", sa=sa, sequence=sequence, packet=packet.hex())["packet"])

    def open(self, packet, sequence_high=0):
        """Answers (inner packet, None) or (None, the reason to drop it). A number that was accepted is seen."""
        answer = self.ask(op="open", packet=packet.hex(), sequence_high=sequence_high)
        return (bytes.fromhex(answer["packet"]), None) if "packet" in answer else (None, answer["drop"])
