#!/bin/sh
# Fails if DPDK is anywhere in the dependency tree of the given packages (`-p NAME` ...).
set -eu

if cargo tree "$@" --edges normal,build,dev --prefix none | sort -u | grep -i dpdk; then
    echo "check-pure: the crates above must not be in the tree of: $*" >&2
    exit 1
fi
