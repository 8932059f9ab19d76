#!/usr/bin/env python3
"""decap.py NAME: stands in for the ipip module where the kernel has none.

Makes a TUN device of that name and hands it the inner packet of every IP-in-IP packet (RFC 2003) that arrives. The
rest (its address, its sysctls) is configured as on a real tunl0.
"""

import fcntl
import os
import socket
import struct
import sys

TUNSETIFF = 0x400454CA
IFF_TUN_NO_PI = 0x1001

raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IPIP)
tun = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", sys.argv[1].encode(), IFF_TUN_NO_PI))
print("ready", flush=True)
while True:
    packet = raw.recv(65535)
    inner = packet[(packet[0] & 15) * 4 :]
    try:
        os.write(tun, inner)
    except OSError:  # no IP packet, or the device is down: lost, as in the kernel
        pass
