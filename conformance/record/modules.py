"""Loads the guest's modules, with what they depend on."""

import ctypes
import os
import subprocess

NEEDED = """tun ip_tables iptable_mangle xt_mark xt_tcpudp ipip ip_gre fou ip_vs ip_vs_rr ip_vs_wrr ip_vs_lc
ip_vs_wlc ip_vs_lblc ip_vs_lblcr ip_vs_dh ip_vs_sh ip_vs_sed ip_vs_nq ip_vs_fo ip_vs_ovf ip_vs_mh""".split()
LIBC = ctypes.CDLL(None, use_errno=True)
FINIT_MODULE = 313
EEXIST = 17


def load(root):
    """Loads all that recordings need from a directory of modules."""
    depends = {}
    with open(f"{root}/modules.dep") as file:
        for line in file:
            path, _, rest = line.partition(":")
            depends[os.path.basename(path).split(".")[0].replace("-", "_")] = (path, rest.split())
    loaded = set()
    for name in NEEDED:
        if name not in depends:
            print("no module", name)
            continue
        path, rest = depends[name]
        for part in [*reversed(rest), path]:
            if part not in loaded:
                loaded.add(part)
                insert(f"{root}/{part}")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=False)


def insert(path):
    file = os.open(path, os.O_RDONLY)
    if LIBC.syscall(FINIT_MODULE, file, b"", 0) and ctypes.get_errno() != EEXIST:
        print("cannot load", path, os.strerror(ctypes.get_errno()))
    os.close(file)
