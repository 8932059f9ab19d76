#!/bin/sh
# Installs what building, testing and showing RVS needs from Debian's packages, and nothing when it is all there.
set -eu

# One line a package, with its reason.
packages='
build-essential   the C compiler for the shim over inline functions of DPDK, and the linker
pkg-config        finds libdpdk
libdpdk-dev       DPDK 22.11 and all of its drivers
dpdk              tests: dpdk-telemetry.py
dpdk-dev          bench: dpdk-testpmd, the yardstick
libclang-dev      bindgen reads the headers of DPDK with it
iproute2          demo and tests: network namespaces, veth pairs, routes
iptables          demo and tests: MASQUERADE
ethtool           demo and tests: checksum offload of veth pairs
python3           demo and tests: servers and clients
curl              demo: the HTTP client
iputils-ping      tests: ping
groff-base        tests: the manual page
tcpdump           tests: reads what was captured
tmux              tests: a terminal for rvsadm top
libpopt0          tests: the real ipvsadm reads its command line with it
valgrind          tests: instructions per packet
zsh               tests: its completions
fish              tests: its completions
'

missing=
for package in $(printf '%s\n' "$packages" | awk 'NF { print $1 }'); do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done

if [ -n "$missing" ]; then
    command -v apt-get >/dev/null || { echo "setup: this is no Debian; install the equivalents of:$missing" >&2; exit 1; }
    echo "setup: installing$missing"
    as_root=
    [ "$(id -u)" = 0 ] || as_root=sudo
    $as_root apt-get -qq update >/dev/null
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing >/dev/null
fi

# Programs of Debian that tests run unpacked, not installed: ipvsadm's scripts, with rvsadm for the program; promtool;
# prometheus-node-exporter, which reads our files instead of the kernel's.
for package in ipvsadm prometheus prometheus-node-exporter; do
    if command -v apt-get >/dev/null && ! ls target/packages/${package}_*.deb >/dev/null 2>&1; then
        mkdir -p target/packages
        (cd target/packages && apt-get -qq download $package >/dev/null 2>&1) ||
            echo "setup: the package $package cannot be had; a test will be skipped" >&2
    fi
done

for tool in fmt clippy; do
    cargo $tool --version >/dev/null 2>&1 || { echo "setup: cargo $tool is missing: rustup component add rustfmt clippy" >&2; exit 1; }
done
