#!/usr/bin/env python3
"""The network that the demo and the end-to-end tests share: namespaces joined by veth pairs and two bridges.

       client ── 172.16.0.0/24 (wan) ── director ── 192.168.1.0/24 and 192.168.0.0/24 (lan) ── rs2 rs3 rs4
          │                │                                                  │
          │             outside                                               │
          └───────────────────────────────────────────────────────────────────┘

The director's veth ends are `port0` (wan) and `port1` (lan); rvsd polls them, and their interfaces in the kernel are
`lvs0` and `lvs1`. Every real server runs an HTTP server that names itself, and so does `outside`.

    lab.py up NAME        makes it, servers running; NAME is `rvs` and the process id of who uses it, then anything
    lab.py address NAME   gives lvs0 and lvs1 their addresses, once rvsd has made them
    lab.py down NAME      ends every process in it and takes it away; harmless if there is nothing

`up` also takes away what is left of networks whose users are gone. It does not know rvsd.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SERVERS = ["rs2", "rs3", "rs4"]
HOSTS = ["wire", "director", "client", "outside", *SERVERS]
# Addresses of every interface, from the start; the virtual addresses are the set-ups' own.
WAN = {"client": [f"172.16.0.{n}" for n in (10, 11, 12, 13)], "outside": ["172.16.0.100"]}
LAN = {"client": [f"192.168.0.{n}" for n in (10, 11, 12, 13)]} | {
    name: [f"192.168.1.{name[2:]}", f"192.168.0.{name[2:]}"] for name in SERVERS
}
KERNEL_INTERFACES = {"lvs0": ["172.16.0.1"], "lvs1": ["192.168.1.1", "192.168.0.1"]}


def run(*command, check=True, timeout=20):
    """Runs a command; a failure shows what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done


class Lab:
    """One such network, by its name."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        self.up()
        return self

    def __exit__(self, *_):
        self.down()

    def inside(self, host, *command):
        """The command line that runs `command` on a host."""
        return ["ip", "netns", "exec", f"{self.name}-{host}", *command]

    def sh(self, host, script, check=True, timeout=20):
        """Runs a line of shell on a host."""
        return run(*self.inside(host, "sh", "-c", script), check=check, timeout=timeout)

    def spawn(self, host, *command, **options):
        """Starts a process on a host, out of reach of the terminal's Ctrl-C; `down` ends it at the latest."""
        return subprocess.Popen(self.inside(host, *command), start_new_session=True, text=True, **options)

    def up(self):
        sweep()
        try:
            self.build()
        except BaseException:
            self.down()
            raise

    def build(self):
        for host in HOSTS:
            run("ip", "netns", "add", f"{self.name}-{host}")
            # Nobody here speaks IPv6, so nothing is on the wires but what somebody sent.
            self.sh(host, "echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6; ip link set lo up")
        for bridge in ("wan", "lan"):
            self.sh("wire", f"ip link add {bridge} type bridge mcast_snooping 0 && ip link set {bridge} up")
            # A wire forwards whatever it is given, also what its own kernel's netfilter thinks malformed.
            self.sh("wire", "for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 >$f; done")
        self.cable("director", "port0", "wan")
        self.cable("director", "port1", "lan")
        for port in ("port0", "port1"):
            # Its frames are rvsd's: the kernel sees them too, and must neither answer nor route them.
            self.sh("director", f"cd /proc/sys/net && echo 1 >ipv4/conf/{port}/rp_filter && echo 8 >ipv4/conf/{port}/arp_ignore")
        for bridge, hosts in (("wan", WAN), ("lan", LAN)):
            for host, addresses in hosts.items():
                self.cable(host, bridge, bridge)
                for address in addresses:
                    self.sh(host, f"ip addr add {address}/24 dev {bridge}")
        for host in SERVERS:
            self.sh(host, "ip route add default via 192.168.1.1")
            if not self.has_ipip(host):
                self.serve(host, "decap.py", "tunl0")
        for host in [*SERVERS, "outside"]:
            self.serve(host, "web.py", host)

    def cable(self, host, interface, bridge):
        """A veth pair from a host to a bridge. Nothing on it may leave a checksum to an offload."""
        there = f"{host}-{interface}"
        run("ip", "link", "add", interface, "netns", f"{self.name}-{host}", "type", "veth",
            "peer", "name", there, "netns", f"{self.name}-wire")
        self.sh("wire", f"ip link set {there} master {bridge} up")
        self.sh(host, f"ip link set {interface} up")
        for where, what in ((host, interface), ("wire", there)):
            self.sh(where, f"ethtool -K {what} tx off tso off gso off gro off")

    def has_ipip(self, host):
        """Whether this kernel decapsulates by itself. Its module, once loaded, puts tunl0 into every namespace."""
        return self.sh(host, "modprobe ipip; ip link show tunl0", check=False).returncode == 0

    def serve(self, host, script, *arguments):
        """Starts one of the servers beside this file and waits for its line `ready`. It holds no file of ours open."""
        server = self.spawn(host, sys.executable, str(HERE / script), *arguments,
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if server.stdout.readline() != "ready\n":
            raise RuntimeError(f"{script} does not start on {host}")
        server.stdout.close()

    def address(self):
        for interface, addresses in KERNEL_INTERFACES.items():
            self.sh("director", f"ip link set {interface} up")
            for address in addresses:
                self.sh("director", f"ip addr add {address}/24 dev {interface}")

    def down(self):
        """A second Ctrl-C does not stop it."""
        before = {what: signal.signal(what, signal.SIG_IGN) for what in (signal.SIGINT, signal.SIGTERM)}
        here = [space for space in namespaces() if space.startswith(f"{self.name}-")]
        for how, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            end = time.monotonic() + patience
            signalled = set()
            while (alive := {pid for space in here for pid in processes(space)}) and time.monotonic() < end:
                for pid in alive - signalled:
                    try:
                        os.kill(pid, how)
                    except ProcessLookupError:
                        pass
                signalled |= alive
                time.sleep(0.02)
        for space in here:
            run("ip", "netns", "del", space, check=False)
        for what, handler in before.items():
            signal.signal(what, handler)


def namespaces():
    return [line.split()[0] for line in run("ip", "netns", "list").stdout.splitlines() if line.strip()]


def processes(space):
    return [int(pid) for pid in run("ip", "netns", "pids", space, check=False).stdout.split()]


def sweep():
    """Takes away the networks of processes that no longer live."""
    for name in {space.rsplit("-", 1)[0] for space in namespaces()}:
        owner = re.match(r"rvs(\d+)", name)
        if owner and not Path("/proc", owner[1]).exists():
            Lab(name).down()


if __name__ == "__main__":
    actions = {"up": Lab.up, "address": Lab.address, "down": Lab.down}
    if len(sys.argv) != 3 or sys.argv[1] not in actions:
        sys.exit(__doc__)
    actions[sys.argv[1]](Lab(sys.argv[2]))
