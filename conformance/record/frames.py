"""IPv4 packets as bytes, in both directions: what a client or a server sends, and what came out."""

import socket
import struct

TCP, UDP, ICMP, SCTP = 6, 17, 1, 132
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32}


def checksum(data):
    """RFC 1071."""
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def flags(letters):
    return sum(FLAGS[letter] for letter in letters)


def ip(source, target, protocol, payload, ttl=64, tos=0, ident=0, df=True, more=False, offset=0, options=b""):
    """A packet; `offset` counts bytes."""
    words = 5 + len(options) // 4
    bits = (0x4000 if df else 0) | (0x2000 if more else 0) | offset // 8
    head = struct.pack("!BBHHHBBH4s4s", 0x40 | words, tos, words * 4 + len(payload), ident, bits, ttl, protocol, 0,
                       socket.inet_aton(source), socket.inet_aton(target)) + options
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def pseudo(source, target, protocol, payload):
    return socket.inet_aton(source) + socket.inet_aton(target) + struct.pack("!BBH", 0, protocol, len(payload))


def tcp(source, target, letters, seq=1000, ack=0, data=b"", options=b"", bad=False):
    """A segment between two endpoints (address, port)."""
    words = 5 + len(options) // 4
    body = struct.pack("!HHIIBBHHH", source[1], target[1], seq, ack, words << 4, flags(letters), 0x7210, 0, 0)
    body += options + data
    total = checksum(pseudo(source[0], target[0], TCP, body) + body) ^ (0x0101 if bad else 0)
    return body[:16] + struct.pack("!H", total) + body[18:]


def udp(source, target, data, mode="good"):
    """A datagram; its checksum is `good`, `none` or `bad`."""
    body = struct.pack("!HHHH", source[1], target[1], 8 + len(data), 0) + data
    total = checksum(pseudo(source[0], target[0], UDP, body) + body) or 0xFFFF
    total = {"good": total, "none": 0, "bad": total ^ 0x0101 or 0x0101}[mode]
    return body[:6] + struct.pack("!H", total) + body[8:]


def icmp(kind, code, rest, data, bad=False):
    """A message; `rest` is its second word."""
    body = struct.pack("!BBHI", kind, code, 0, rest) + data
    return body[:2] + struct.pack("!H", checksum(body) ^ (0x0101 if bad else 0)) + body[4:]


def crc32c(data):
    """RFC 9260, appendix A."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sctp(source_port, target_port, kind, data=b""):
    """A packet of one chunk."""
    chunk = struct.pack("!BBH", kind, 0, 4 + len(data)) + data
    body = struct.pack("!HHII", source_port, target_port, 7, 0) + chunk
    return body[:8] + struct.pack("<I", crc32c(body)) + body[12:]


def fragments(packet, size):
    """The packet in fragments of this many bytes of payload."""
    head = (packet[0] & 15) * 4
    payload, pieces = packet[head:], []
    for at in range(0, len(payload), size):
        piece = payload[at:at + size]
        bits = (at // 8) | (0x2000 if at + size < len(payload) else 0)
        top = packet[:2] + struct.pack("!H", head + len(piece)) + packet[4:6] + struct.pack("!H", bits) + packet[8:10]
        top += b"\0\0" + packet[12:head]
        pieces.append(top[:10] + struct.pack("!H", checksum(top)) + top[12:] + piece)
    return pieces


class Seen:
    """What a packet says."""

    def __init__(self, data):
        self.data = data
        self.head = (data[0] & 15) * 4
        self.protocol = data[9]
        self.source, self.target = socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20])
        self.payload = data[self.head:]
        ports = self.protocol in (TCP, UDP, SCTP) and len(self.payload) >= 4
        self.ports = struct.unpack("!HH", self.payload[:4]) if ports else (0, 0)
