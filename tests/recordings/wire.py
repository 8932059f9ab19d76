#!/usr/bin/env python3
"""The wires of a director: wire.py INTERFACE... reads commands, prints what the director sends.

N HEX    sends a frame on the N-th interface and prints `N HEX` for each IPv4 frame that the director sends because of it,
         then `done`

The end of what comes because of a frame is known by pings behind it: first on the same interface, whose answer says that the
director has dealt with the frame; then on each other one, whose answer comes behind what left there because of the frame.
"""

import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
ICMP_ECHO, ICMP_ECHO_REPLY = 8, 0
# Of each interface: the director's MAC and IP address, and a neighbour's.
ENDS = [
    (bytes.fromhex("0200000000fe"), "10.0.0.1", bytes.fromhex("020000000001"), "10.0.0.254"),
    (bytes.fromhex("0200000001fe"), "192.168.1.1", bytes.fromhex("0200000001fa"), "192.168.1.250"),
]
MARK = b"rvs-mark"
PATIENCE, AGAIN = 20.0, 1.0


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ping(number, mark):
    """A frame with an echo request to the director."""
    to, to_ip, own, own_ip = ENDS[number]
    message = struct.pack(">BBHHH", ICMP_ECHO, 0, 0, 1, 1) + mark
    message = message[:2] + struct.pack(">H", checksum(message)) + message[4:]
    header = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, 1, 0)
    header += socket.inet_aton(own_ip) + socket.inet_aton(to_ip)
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return to + own + b"\x08\x00" + header + message


def is_pong(frame, mark):
    return frame[23] == 1 and frame[34] == ICMP_ECHO_REPLY and frame[42 : 42 + len(mark)] == mark


wires = []
for name in sys.argv[1:]:
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    wire.bind((name, ETH_P_ALL))
    wire.setblocking(False)
    wires.append(wire)


def received(mark):
    """Prints what has come; answers whether this pong was there."""
    done = False
    for number, wire in enumerate(wires):
        while True:
            try:
                frame, address = wire.recvfrom(65535)
            except BlockingIOError:
                break
            if address[2] == PACKET_OUTGOING or frame[12:14] != b"\x08\x00" or len(frame) < 34:
                continue
            if mark and is_pong(frame, mark):
                done = True
            elif MARK not in frame:
                print(number, frame.hex())
    return done


def ask(number, mark):
    """Pings on an interface until the answer is there, and prints what else comes; answers whether it came."""
    end = time.monotonic() + PATIENCE
    again = 0.0
    while time.monotonic() < end:
        if time.monotonic() >= again:
            wires[number].send(ping(number, mark))
            again = time.monotonic() + AGAIN
        select.select(wires, [], [], AGAIN)
        if received(mark):
            return True
    return False


count = 0
print("ready", flush=True)
for line in sys.stdin:
    first, data = line.split()
    first = int(first)
    wires[first].send(bytes.fromhex(data))
    done = True
    for number in sorted(range(len(wires)), key=lambda number: number != first):
        count += 1
        done = done and ask(number, MARK + struct.pack(">Q", count))
    received(b"")
    print("done" if done else "lost", flush=True)
