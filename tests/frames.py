#!/usr/bin/env python3
"""Ethernet frames as lines of hex.

frames.py send INTERFACE    sends each line of the standard input
frames.py sniff INTERFACE   prints `ready`, then what passes in either direction until its standard input ends
"""

import select
import socket
import sys

ETH_P_ALL = 3

action, interface = sys.argv[1:]
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.bind((interface, ETH_P_ALL))
if action == "send":
    for line in sys.stdin:
        wire.send(bytes.fromhex(line))
else:
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([wire, sys.stdin], [], [])
        if wire in ready:  # first: what came before the end is printed
            print(wire.recv(65535).hex())
        elif ready:
            break
