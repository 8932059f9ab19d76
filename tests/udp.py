#!/usr/bin/env python3
"""udp.py echo NAME PORT: prints `ready` and answers each datagram with NAME and as many bytes as were sent.
udp.py ask ADDRESS PORT COUNT BYTES: COUNT datagrams, each from a port of its own; prints who answers, or `lost`."""

import socket
import sys

if sys.argv[1] == "echo":
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("", int(sys.argv[3])))
    print("ready", flush=True)
    while True:
        data, client = server.recvfrom(65535)
        server.sendto(sys.argv[2].encode() + b" " + data, client)

data = bytes(int(sys.argv[5]))
sockets = []  # kept, so that no port is used twice
for _ in range(int(sys.argv[4])):
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(5)
    client.sendto(data, (sys.argv[2], int(sys.argv[3])))
    sockets.append(client)
    try:
        name, echoed = client.recv(65535).split(b" ", 1)
        print(name.decode() if echoed == data else "damaged")
    except OSError:
        print("lost")
