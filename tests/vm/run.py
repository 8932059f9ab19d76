#!/usr/bin/env python3
"""run.py BINARIES CACHE [DEVICE...]: rvsd on emulated PCI devices, with several queues where they can have them.

A small guest is booted for each device, with its two ports on the wires of a network of `demo/lab.py` instead of the
director there. It balances real HTTP requests by NAT, on two workers. Checked are the answers, that no frame was lost
between workers, and, where the device hashes for RSS, that RSS and ownership agree: next to nothing is handed over.
"""

import os
import re
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "demo"))

from image import MODULES, Image  # noqa: E402
from lab import Lab  # noqa: E402

WORKERS = 2
REQUESTS = 60
BOOT = 240  # seconds, where nothing helps to emulate
KVM_PATIENCE = 10  # seconds, of which a kernel needs two
KERNEL = "console=ttyS0 quiet panic=-1 hugepages=192 nokaslr"


@dataclass
class Device:
    """What qemu's device is asked for, and what DPDK's driver can do with it."""
    options: str
    queues: int  # of the tap: more than one if the device hashes itself
    hashes: bool  # with a key and a table of ours


DEVICES = {
    "virtio-net-pci": Device("mq=on,vectors=%d,rss=on,hash=on,guest_tso4=off,guest_tso6=off,guest_ufo=off"
                             % (2 * WORKERS + 2), WORKERS, True),
    # Queues, but no table that DPDK could set.
    "e1000e": Device("", 1, False),
    "vmxnet3": Device("", 1, False),
}
KVM = ["-accel", "kvm", "-cpu", "host,migratable=on"]
TCG = ["-accel", "tcg,thread=multi", "-cpu", "max"]
BARE = ["-machine", "q35", "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"]


def accelerator(kernel):
    """KVM where it works: there are machines, themselves virtual, on which it is there and a guest makes no step."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    # Without a root file system the kernel panics at the end of its start, and qemu ends.
    command = ["qemu-system-x86_64", *BARE, *KVM, "-m", "512", "-kernel", kernel, "-append", "console=ttyS0 panic=-1"]
    try:
        said = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=KVM_PATIENCE).stdout
    except subprocess.TimeoutExpired:
        return TCG
    return KVM if b"Kernel panic" in said else TCG


class Guest:
    """A running guest whose ports are on the wires of a lab."""

    def __init__(self, lab, device, accelerator, kernel, image):
        options, queues = DEVICES[device].options, DEVICES[device].queues
        command = ["qemu-system-x86_64", *BARE, *accelerator, "-smp", str(WORKERS + 1), "-m", "1024",
                   "-kernel", kernel, "-initrd", image, "-append", KERNEL]
        for number, wire in enumerate(("wan", "lan")):
            # The director of the lab is not there.
            lab.sh("wire", f"ip link set director-port{number} down")
            several, queue = ("multi_queue", f",queues={queues}") if queues > 1 else ("", "")
            lab.sh("wire", f"ip tuntap add vm{number} mode tap {several} && ip link set vm{number} master {wire} up")
            card = f"{device},netdev=n{number},mac=02:00:00:00:00:0{number + 1},romfile="
            command += ["-netdev", f"tap,id=n{number},ifname=vm{number},script=no,downscript=no,vhost=off{queue}",
                        "-device", ",".join(filter(None, [card, options]))]
        self.process = lab.spawn("wire", *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        self.seen = ""
        self.wait_for(r"guest: ready", BOOT)

    def wait_for(self, pattern, seconds):
        """What the guest said up to this pattern."""
        selector = selectors.DefaultSelector()
        selector.register(self.process.stdout, selectors.EVENT_READ)
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            if not selector.select(timeout=max(0, end - time.monotonic())):
                raise RuntimeError(f"the guest does not say '{pattern}'; it said:\n{self.seen}")
            read = os.read(self.process.stdout.fileno(), 65536).decode(errors="replace")
            if not read:
                raise RuntimeError(f"qemu has ended; it said:\n{self.seen}")
            self.seen += read.replace("\r", "")
        said, self.seen = self.seen[: found.start()], self.seen[found.end():]
        return said

    def sh(self, line, check=True):
        """Runs a line of shell in the guest."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        said = self.wait_for(r"guest: exit (?=\d)", 60)
        status = int(self.wait_for(r"\n", 10))
        if check and status:
            raise RuntimeError(f"in the guest: {line}: exit {status}: {said}")
        return said

    def stop(self):
        self.process.kill()
        self.process.wait()


# Of rvsd in the guest.
ARGUMENTS = (f"-l 0-{WORKERS} --no-telemetry -- --config /rvs.toml --socket /tmp/rvs.sock --connections 10000 "
             "--destinations 1024 --idle pause")

CONFIG = """\
[[port]]
device = 0
kernel = "lvs0"
side = "outside"

[[port]]
device = 1
kernel = "lvs1"
side = "inside"
"""

REPORT = re.compile(r"port \d: \d+ queues, frames reach their owners (by RSS|from worker to worker); (\d+) handed over")


def check(device, lab, guest):
    """Balances, and answers what is wrong."""
    for address, interface in (("172.16.0.1", "lvs0"), ("192.168.1.1", "lvs1")):
        guest.sh(f"ip addr add {address}/24 dev {interface}")
    for line in ("-A -t 172.16.0.1:80 -s rr", "-a -t 172.16.0.1:80 -r 192.168.1.2:80 -m",
                 "-a -t 172.16.0.1:80 -r 192.168.1.3:80 -m"):
        guest.sh(f"/tmp/ipvsadm {line}")
    script = f"n=0; while [ $n -lt {REQUESTS} ]; do curl --silent --max-time 5 --interface 172.16.0.$((10 + n % 4)) " \
             "http://172.16.0.1/ || echo lost; n=$((n + 1)); done"
    answers = Counter(line.split()[0] for line in lab.sh("client", script, timeout=REQUESTS * 6).stdout.splitlines())
    print(guest.sh("grep -e 'device offers' -e 'port started' /tmp/rvsd.log").strip())
    workers = guest.sh("rvsadm show worker")
    print(workers.strip())
    rows = [list(map(str.strip, row.split())) for row in workers.splitlines() if re.match(r"\s*\d+ +\d", row)]
    ports = REPORT.findall(workers)
    wrong = []
    if sorted(answers) != ["rs2", "rs3"] or sum(answers.values()) != REQUESTS or min(answers.values()) < REQUESTS // 4:
        wrong.append(f"the answers are {dict(answers)}")
    if len(rows) != WORKERS or len(ports) != 2:
        wrong.append("rvsd does not tell of its workers and ports")
    received = sum(int(row[1]) for row in rows)
    handed = sum(int(count) for _, count in ports)
    by_rss = all(how == "by RSS" for how, _ in ports)
    if by_rss != DEVICES[device].hashes or by_rss and handed * 50 > received:
        wrong.append(f"RSS {'does not agree with ownership' if by_rss else 'is not in use'}")
    print(f"vm: {device}: {REQUESTS} requests, {dict(answers)}, {handed} of {received} frames handed over"
          + "".join(f"; WRONG: {what}" for what in wrong))
    return wrong


def skip(why):
    print(f"vm: SKIPPED: {why}")
    sys.exit(0)


def main():
    binaries, cache = sys.argv[1], sys.argv[2]
    if os.geteuid() != 0:
        skip("network namespaces and taps need root")
    if shutil.which("qemu-system-x86_64") is None:
        skip("qemu is missing: tests/vm/setup.sh installs it")
    image = Image(cache, binaries)
    try:
        kernel, _ = image.kernel()
        init = (HERE / "init.sh").read_text().replace("MODULES", " ".join(MODULES))
        init = init.replace("RVSD_ARGUMENTS", ARGUMENTS)
        initramfs = image.build(init, {"/rvs.toml": CONFIG})
        speed = accelerator(str(kernel))
    except (subprocess.CalledProcessError, StopIteration) as error:
        skip(f"a package cannot be downloaded: {error}")
    wrong = 0
    try:
        for device in sys.argv[3:] or DEVICES:
            with Lab(f"rvs{os.getpid()}") as lab:
                guest = Guest(lab, device, speed, str(kernel), str(initramfs))
                try:
                    wrong += len(check(device, lab, guest))
                except RuntimeError:
                    print(guest.sh("cat /tmp/rvsd.log", check=False))
                    raise
                finally:
                    guest.stop()
    finally:
        initramfs.unlink()
    print(f"vm: {len(sys.argv[3:] or DEVICES)} devices, {wrong} wrong")
    return 1 if wrong else 0


def terminate(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nvm: interrupted")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.exit(f"\nvm: {error}")
