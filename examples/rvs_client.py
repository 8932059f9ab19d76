#!/usr/bin/env python3
"""A client of rvsd's JSON protocol, with nothing but the standard library.

    from rvs_client import Client, Refused
    with Client() as rvs:
        rvs.line("service add tcp 192.0.2.1:80 scheduler rr")       # a line of the console or of ipvsadm
        rvs.do("set_timeouts", tcp=900, tcp_fin=120, udp=300)       # a command by name
        for service in rvs.do("services")["services"]: ...
        for event in rvs.watch(["changes", "ports"]): ...

Run as a program it shows what changes, and what goes through the ports: rvs_client.py [SOCKET].
docs/control-protocol.md describes the protocol.
"""

import json
import os
import socket
import sys

DEFAULT = "/run/rvs/control.sock"


class Refused(Exception):
    """A request was refused. `error` is the error as the protocol has it; nothing was changed."""

    def __init__(self, message, error):
        super().__init__(message)
        self.error = error


class Client:
    """A connection to rvsd. Requests are answered in their order; events of a watch may come between."""

    def __init__(self, path=None, timeout=60):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(path or os.environ.get("RVS_SOCKET") or DEFAULT)
        self.file = self.socket.makefile("rwb")
        self.number = 0
        self.events = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def line(self, text):
        """Does a line of the console or of ipvsadm, and answers its reply."""
        return self.do(text)

    def do(self, command, **fields):
        """Does a command by name, and answers its reply."""
        self.number += 1
        request = {"id": self.number, "command": command, **fields}
        self.file.write(json.dumps(request).encode() + b"\n")
        self.file.flush()
        while True:
            answer = self.read()
            if "event" in answer:
                self.events.append(answer)
            elif answer.get("id") == self.number:
                if "error" in answer:
                    raise Refused(answer["message"], answer["error"])
                return answer["reply"]
            else:
                raise ConnectionError(f"an answer to another request: {answer}")

    def watch(self, what=("changes", "statistics", "workers", "ports"), interval=1):
        """Answers events as they come, without end; each is a dictionary with one key, what it is about."""
        self.do("watch", what=list(what), interval=interval)
        while True:
            while self.events:
                yield self.events.pop(0)["event"]
            answer = self.read()
            if "event" in answer:
                yield answer["event"]

    def read(self):
        line = self.file.readline()
        if not line:
            raise ConnectionError("rvsd hung up")
        return json.loads(line)


def main():
    with Client(sys.argv[1] if len(sys.argv) > 1 else None) as rvs:
        print("RVS", rvs.do("version")["version"]["rvs"])
        for event in rvs.watch(["changes", "ports"]):
            for change in event.get("changes", {}).get("changes", []):
                print("change", change["number"], json.dumps(change["change"]))
            for port in event.get("ports", []):
                rates = port["rates"]
                print(f"port {port['port']}: {rates['rx_packets']} packets/s in, {rates['tx_packets']} packets/s out")


if __name__ == "__main__":
    try:
        main()
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except OSError as error:
        sys.exit(f"rvs_client: {error}")
