#!/bin/sh
# A director's start script in the manner of the LVS tutorials: sh tutorial.sh nat|dr|tun
set -e
mode=$1
VIP=172.16.0.1
SERVERS="192.168.1.2 192.168.1.3 192.168.1.4"

case $mode in
    nat) method=-m ;;
    dr) method=-g ;;
    tun) method=-i ;;
    *) echo "usage: $0 nat|dr|tun" >&2; exit 1 ;;
esac

[ -x /sbin/ipvsadm ] || exit 0
ipvsadm=/sbin/ipvsadm

echo "clearing the table"
$ipvsadm -C
echo "adding $VIP:80 ($mode)"
$ipvsadm -A -t $VIP:80 -s wlc
$ipvsadm -A -t $VIP:443 -s rr -p 600
weight=1
for server in $SERVERS; do
    $ipvsadm -a -t $VIP:80 -r $server:80 $method -w $weight
    $ipvsadm -a -t $VIP:443 -r $server:443 $method
    weight=$((weight + 1))
done

# What the tutorials look for, and with which tools.
count=$($ipvsadm -L -n | grep -c -- '->.*:80 ')
[ "$count" = 3 ] || { echo "$count servers instead of 3"; exit 1; }
$ipvsadm -L -n | awk -v vip=$VIP:80 '$1 == "TCP" { service = $2 } $1 == "->" && service == vip { print $2, $3, $4, $5 + $6 }'
$ipvsadm -L -n --stats | awk '$1 == "TCP" { print $2, $3 }'
