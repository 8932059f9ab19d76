#!/bin/sh
# Fetches the recorded kernel (once, unpacked into target/uml) and lets it record: run.sh OUTPUT KIND[:COUNT[:SEED]]...
set -eu
here=$(cd "$(dirname "$0")" && pwd)
uml=$here/../../target/uml
if [ ! -x "$uml/usr/bin/linux.uml" ]; then
    mkdir -p "$uml"
    (cd "$uml" && apt-get download -q user-mode-linux && dpkg -x user-mode-linux_*.deb . && rm user-mode-linux_*.deb)
fi
output=$1
shift
mkdir -p "$output"
exec python3 "$here/record.py" "$uml" "$output" "$@"
