#!/bin/sh
# The guest's init. RECORD_* come from the kernel's command line.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t tmpfs run /run; mount -t devtmpfs dev /dev
cd "$RECORD_DIR"
# Names as in the recordings, and a name server that refuses at once.
echo "nameserver 127.0.0.1" > /run/resolv.conf
mount --bind hosts /etc/hosts; mount --bind /run/resolv.conf /etc/resolv.conf
# shellcheck disable=SC2086
"$RECORD_PYTHON" -u record.py --guest $(echo "$RECORD_ARGS" | tr , ' ') > "$RECORD_LOG" 2>&1
echo "exit $?" >> "$RECORD_LOG"
dmesg | grep -iE 'oops|BUG:|WARNING' | tail -5 >> "$RECORD_LOG"
sync; echo o > /proc/sysrq-trigger; sleep 5
