#!/bin/sh
# Installs what `make vmtest` needs beyond scripts/setup.sh. What cannot be had is named by the test when it skips.
set -eu

command -v qemu-system-x86_64 >/dev/null && exit 0
command -v apt-get >/dev/null || { echo "vm: this is no Debian; install qemu-system-x86_64" >&2; exit 0; }
echo "vm: installing qemu-system-x86"
as_root=
[ "$(id -u)" = 0 ] || as_root=sudo
$as_root apt-get -qq update >/dev/null || true
$as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
    qemu-system-x86 >/dev/null || echo "vm: qemu-system-x86 cannot be installed" >&2
