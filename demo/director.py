"""rvsd in the director's namespace of a lab, with `ipvsadm` (which is rvsadm) on PATH."""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

MEMORY_MB = 512
CONFIG = """\
[control]
socket = "{socket}"

[[port]]
device = "net_af_packet0"
kernel = "lvs0"

[[port]]
device = "net_af_packet1"
kernel = "lvs1"
"""


class Director:
    """A running rvsd with so many workers; `binaries` is the directory of rvsd and rvsadm."""

    def __init__(self, lab, binaries, workers=1):
        self.lab = lab
        self.files = tempfile.TemporaryDirectory(prefix=f"{lab.name}-")
        files = Path(self.files.name)
        Path(files, "ipvsadm").symlink_to(Path(binaries, "rvsadm").resolve())
        Path(files, "rvs.toml").write_text(CONFIG.format(socket=files / "control.sock"))
        # What runs on the director finds the daemon by the first and `ipvsadm` by the second.
        self.environment = os.environ | {"RVS_SOCKET": f"{files}/control.sock", "PATH": f"{files}:{os.environ['PATH']}"}
        self.log = files / "rvsd.log"
        self.command = [str(Path(binaries, "rvsd").resolve()), *eal_arguments(lab.name, workers), "--", "--config", f"{files}/rvs.toml"]
        with self.log.open("w") as log:
            self.process = lab.spawn("director", *self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.wait_until_ready()
        lab.address()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def command_line(self):
        return " ".join(self.command)

    def wait_until_ready(self):
        end = time.monotonic() + 30
        while self.sh("ipvsadm -Ln", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"rvsd does not start: {' '.join(self.command)}\n{self.log.read_text()}")
            time.sleep(0.1)

    def sh(self, script, check=True):
        """Runs lines of shell on the director, where `ipvsadm` is rvsadm."""
        done = subprocess.run(self.lab.inside("director", "sh", "-ec", script), env=self.environment,
                              capture_output=True, text=True, timeout=20)
        if check and done.returncode:
            raise RuntimeError(f"on the director:\n{script}\nexit {done.returncode}: {done.stderr}")
        return done

    def stop(self):
        """Asks rvsd to end, as an operator would, and answers its exit status."""
        try:
            self.process.send_signal(signal.SIGTERM)
            return self.process.wait(timeout=10)
        finally:
            self.process.kill()
            self.files.cleanup()


def huge_pages():
    """Whether this machine has enough free huge pages to run on."""
    values = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(values.get("HugePages_Free", "0")) * int(values.get("Hugepagesize", "0 kB").split()[0])
    return free >= MEMORY_MB * 1024


def eal_arguments(prefix, workers):
    """No PCI device, no file shared with another DPDK program; the control thread and the workers on the CPUs there are,
    each worker with a queue of each port."""
    cpus = sorted(os.sched_getaffinity(0))
    lcores = ",".join(f"{lcore}@{cpus[-lcore % len(cpus)]}" for lcore in range(workers + 1))
    return [
        f"--lcores={lcores}", "--no-pci", f"--file-prefix={prefix}", "--no-telemetry",
        "-m", str(MEMORY_MB), *(["--in-memory"] if huge_pages() else ["--no-huge", "--no-shconf"]),
        f"--vdev=net_af_packet0,iface=port0,qpairs={workers}", f"--vdev=net_af_packet1,iface=port1,qpairs={workers}",
    ]
