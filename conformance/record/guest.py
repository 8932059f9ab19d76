"""The director of every recording: network namespaces of this machine, their two ports, and the commands done there."""

import ctypes
import errno
import fcntl
import os
import select
import shlex
import struct
import subprocess
import time

EXT, INT = "ext0", "int0"
MACS = {EXT: "02:00:00:00:00:fe", INT: "02:00:00:00:01:fe"}
GATEWAY = "02:00:00:00:00:01"
VIP = "172.16.0.1"
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def server_mac(k):
    return f"02:00:00:00:01:{k:02x}"


def raw(mac):
    return bytes.fromhex(mac.replace(":", ""))


def write(path, value):
    with open(path, "w") as file:
        file.write(str(value))


class Director:
    """A director in a network namespace of its own, which this process enters."""

    def __init__(self, mtu=1500, vips=(VIP,), sysctl=None):
        if LIBC.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "unshare")
        self.ports = {name: self.tap(name) for name in (EXT, INT)}
        lines = ["link set lo up"]
        for name, address in ((EXT, "10.0.0.1/24"), (INT, "192.168.1.1/24")):
            lines += [f"link set {name} address {MACS[name]}", f"addr add {address} dev {name}"]
        lines += [f"link set {INT} mtu {mtu}"]
        lines += [f"addr add {vip}/32 dev {EXT}" for vip in vips]
        lines += [f"link set {EXT} up", f"link set {INT} up", "route add default via 10.0.0.254"]
        lines += [f"neigh replace 10.0.0.254 lladdr {GATEWAY} nud permanent dev {EXT}"]
        lines += [f"neigh replace 192.168.1.{k} lladdr {server_mac(k)} nud permanent dev {INT}" for k in range(2, 120)]
        for name in ("all", "default", EXT, INT):
            for setting, value in (("rp_filter", 0), ("send_redirects", 0), ("forwarding", 1)):
                if setting != "forwarding":
                    write(f"/proc/sys/net/ipv4/conf/{name}/{setting}", value)
            write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", 1)
        write("/proc/sys/net/ipv4/ip_forward", 1)
        write("/proc/sys/net/ipv4/icmp_ratelimit", 0)
        subprocess.run(["ip", "-batch", "-"], input="\n".join(lines), text=True, check=True)
        for name, value in (sysctl or {}).items():
            write(f"/proc/sys/net/ipv4/vs/{name}", value)
        self.drain()

    @staticmethod
    def tap(name):
        port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(port, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
        return port

    def close(self):
        for port in self.ports.values():
            os.close(port)

    def drain(self, patience=0.0):
        """What came out: (side, destination MAC, packet) of each IPv4 frame."""
        seen = []
        while True:
            ready, _, _ = select.select(list(self.ports.values()), [], [], patience)
            if not ready:
                return seen
            for name, port in self.ports.items():
                while True:
                    try:
                        frame = os.read(port, 70000)
                    except OSError as error:
                        if error.errno == errno.EAGAIN:
                            break
                        raise
                    if frame[12:14] == b"\x08\x00":
                        length = struct.unpack("!H", frame[16:18])[0]
                        seen.append((name[:3], frame[:6].hex(":"), frame[14:14 + length]))

    def send(self, side, packet, server=None):
        """Puts a packet into a port, and returns what came out."""
        name = side + "0"
        source = server_mac(server) if server else GATEWAY
        frame = raw(MACS[name]) + raw(source) + b"\x08\x00" + packet
        os.write(self.ports[name], frame.ljust(60, b"\0"))
        return self.drain() or self.drain(0.003)

    @staticmethod
    def run(line, stdin=None):
        """A command: exit status, output, errors."""
        words = shlex.split(line)
        if words[0] == "iptables":
            words[0] = "iptables-legacy"
        done = subprocess.run(words, input=stdin or "", text=True, capture_output=True, errors="replace", timeout=20)
        return done.returncode, done.stdout, done.stderr

    @staticmethod
    def wait(seconds):
        time.sleep(seconds)
