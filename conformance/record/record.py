#!/usr/bin/env python3
"""`record.py UML-DIRECTORY OUTPUT KIND[:COUNT[:SEED]]...` boots the recorded kernel and lets it make recordings.

With `--guest` it is the part inside. See README.md.
"""

import os
import platform
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
LIMIT = 3000


def boot(uml, output, kinds):
    """Boots the kernel of an unpacked `user-mode-linux` package and waits until it is done."""
    modules = next(os.scandir(f"{uml}/usr/lib/uml/modules")).path
    with tempfile.NamedTemporaryFile("r", suffix=".log") as log:
        given = {"RECORD_DIR": HERE, "RECORD_PYTHON": sys.executable, "RECORD_LOG": log.name,
                 "RECORD_ARGS": ",".join([modules, os.path.abspath(output), *kinds])}
        command = [f"{uml}/usr/bin/linux.uml", "mem=512M", "rootfstype=hostfs", "rootflags=/", "rw", "con=null",
                   "con0=null,null", f"init={HERE}/boot.sh", *(f"{name}={value}" for name, value in given.items())]
        environment = {**os.environ, "TMPDIR": "/tmp"}
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       timeout=LIMIT, env=environment, check=False)
        text = log.read()
        print(text, end="")
        return 0 if "exit 0\n" in text else 1


def guest(modules, output, kinds):
    sys.path.insert(0, HERE)
    import modules as loader
    import kinds as known
    loader.load(modules)
    for name, value in (("icmp_msgs_per_sec", 10**8), ("icmp_msgs_burst", 10**8)):
        with open(f"/proc/sys/net/ipv4/{name}", "w") as file:
            file.write(str(value))
    print("kernel", platform.release())
    for kind in kinds:
        name, count, seed, *_ = [*kind.split(":"), "10", "1"][:3] if kind.count(":") < 2 else kind.split(":")
        known.record(name, output, platform.release(), int(count), seed)


if __name__ == "__main__":
    if sys.argv[1] == "--guest":
        guest(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        sys.exit(boot(sys.argv[1], sys.argv[2], sys.argv[3:]))
