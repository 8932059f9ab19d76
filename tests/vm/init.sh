#!/bin/busybox sh
# The guest's first program: prepares the machine, runs rvsd, and does what it is told on the serial line.
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /var /usr/sbin /sbin
/bin/busybox ln -s /run /var/run
/bin/busybox --install -s /bin
# DPDK loads no drivers below a directory that anybody may write.
chmod 755 /
export PATH=/bin:/sbin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/hugepages /dev/net /dev/pts
mount -t hugetlbfs none /dev/hugepages
mount -t tmpfs none /tmp
for module in MODULES; do
    [ ! -e /modules/$module.ko ] || insmod /modules/$module.ko
done
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
# The devices under test are the only network devices, and nobody else wants them.
for device in /sys/bus/pci/devices/*; do
    [ "$(cat $device/class)" = 0x020000 ] || continue
    echo uio_pci_generic >$device/driver_override
    [ ! -e $device/driver ] || echo ${device##*/} >$device/driver/unbind
    echo ${device##*/} >/sys/bus/pci/drivers_probe
done
(rvsd RVSD_ARGUMENTS; echo "rvsd has ended: exit $?") >/tmp/rvsd.log 2>&1 &
pid=$!
export RVS_SOCKET=/tmp/rvs.sock
ln -s /bin/rvsadm /tmp/ipvsadm
for n in $(seq 300); do
    /tmp/ipvsadm -Ln >/dev/null 2>&1 && break
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
done
# From here on, a line of shell each; its output ends with a line that tells its exit status.
stty -F /dev/ttyS0 -echo 2>/dev/null
echo "guest: ready"
while read -r line; do
    eval "$line" 2>&1
    echo "guest: exit $?"
done
poweroff -f
