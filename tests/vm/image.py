"""A guest without a disk: Debian's kernel, and an initramfs with busybox, DPDK's drivers, rvsd and rvsadm."""

import gzip
import os
import subprocess
import tempfile
from pathlib import Path

# DPDK loads its drivers from here; the guest needs those of its buses, memory pools and devices.
PLUGINS = Path("/usr/lib/x86_64-linux-gnu/dpdk/pmds-23.0")
WANTED = ["bus_pci", "bus_vdev", "mempool_ring", "net_tap", "net_virtio", "net_e1000", "net_vmxnet3"]
# In the order in which they can be inserted: each after those it needs.
MODULES = ["uio", "uio_pci_generic", "tun", "sch_ingress", "cls_flower", "act_mirred"]


class Image:
    """What qemu boots; the parts that come from the network are kept in `cache`."""

    def __init__(self, cache, binaries):
        self.cache = Path(cache)
        self.cache.mkdir(parents=True, exist_ok=True)
        self.binaries = Path(binaries)

    def kernel(self):
        """The kernel's image and the root of its package."""
        package = depends("linux-image-amd64")
        root = self.unpacked(package)
        return next(root.glob("boot/vmlinuz-*")), root

    def unpacked(self, package):
        """A Debian package's files, downloaded once."""
        root = self.cache / package
        if not root.exists():
            subprocess.run(["apt-get", "download", package], cwd=self.cache, check=True, capture_output=True)
            archive = next(self.cache.glob(f"{package}_*.deb"))
            partial = self.cache / f"{package}.partial"
            subprocess.run(["dpkg-deb", "-x", archive, partial], check=True)
            partial.rename(root)
            archive.unlink()
        return root

    def stripped(self, path):
        """A program without what only debuggers read."""
        with tempfile.NamedTemporaryFile(dir=self.cache) as file:
            subprocess.run(["strip", "-o", file.name, path], check=True)
            return Path(file.name).read_bytes()

    def build(self, init, files):
        """Writes the initramfs: `init` is the guest's first program, `files` more files by their names there."""
        _, kernel = self.kernel()
        archive = Cpio()
        archive.add("/init", init.encode(), 0o755)
        archive.add("/bin/busybox", (self.unpacked("busybox-static") / "bin/busybox").read_bytes(), 0o755)
        for name in MODULES:
            found = next(kernel.rglob(f"{name}.ko*"), None)
            if found is not None:
                archive.add(f"/modules/{name}.ko", found.read_bytes(), 0o644)
        programs = [self.binaries / "rvsd", self.binaries / "rvsadm"]
        plugins = [path for name in WANTED for path in PLUGINS.glob(f"librte_{name}.so*")]
        for path in programs:
            archive.add(f"/bin/{path.name}", self.stripped(path), 0o755)
        for path in [*plugins, *map(Path, libraries([*programs, *plugins]))]:
            archive.add_linked(path)
        for name, content in files.items():
            archive.add(name, content.encode(), 0o644)
        image = self.cache / f"initramfs-{os.getpid()}.gz"
        image.write_bytes(gzip.compress(archive.bytes(), compresslevel=1))
        return image


def depends(package):
    """The package that an empty one stands for."""
    said = subprocess.run(["apt-cache", "depends", package], check=True, capture_output=True, text=True).stdout
    return next(line.split()[-1] for line in said.splitlines() if "Depends: linux-image" in line)


def libraries(files):
    """The shared libraries that files need, by the names that the loader looks for."""
    found = set()
    for file in files:
        said = subprocess.run(["ldd", file], capture_output=True, text=True).stdout
        found |= {word for line in said.splitlines() for word in line.split() if word.startswith("/")}
    return sorted(found)


class Cpio:
    """An archive as the kernel unpacks it at boot (`newc`)."""

    def __init__(self):
        self.parts = []
        self.directories = set()
        self.linked = set()
        self.inode = 1

    def add(self, name, content, mode):
        """A file, and the directories above it."""
        name = name.lstrip("/")
        for directory in reversed(Path(name).parents[:-1]):
            if str(directory) not in self.directories:
                self.directories.add(str(directory))
                self.entry(str(directory), b"", 0o040755)
        self.entry(name, content, mode if mode >> 12 else 0o100000 | mode)

    def add_linked(self, path):
        """A file of ours under its own name, and a link to it if `path` is one: a library must not be loaded twice."""
        real = path.resolve()
        for name in {real, path} - self.linked:
            self.linked.add(name)
            if name == real:
                self.add(str(name), name.read_bytes(), 0o755)
            else:
                self.add(str(name), str(real).encode(), 0o120777)

    def entry(self, name, content, mode):
        fields = [self.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        self.inode += 1
        head = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        self.parts += [pad(head), pad(content)]

    def bytes(self):
        self.entry("TRAILER!!!", b"", 0)
        return b"".join(self.parts)


def pad(content):
    return content + b"\0" * (-len(content) % 4)
