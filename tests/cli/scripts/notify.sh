#!/bin/sh
# A keepalived notify script: notify.sh INSTANCE|GROUP NAME MASTER|BACKUP|FAULT [PRIORITY]
# The master sends its connections to the backup, and only it has the services.
name=$2 state=$3
rules=${RULES:?}
interface=${INTERFACE:?}

say() { echo "$name: $*"; }

case $state in
    MASTER)
        ipvsadm --stop-daemon backup 2>/dev/null
        ipvsadm --start-daemon master --mcast-interface "$interface" --syncid 51 || exit 1
        ipvsadm -C && ipvsadm -R <"$rules" || exit 1
        say "master with $(ipvsadm -Sn | grep -c '^-A') services"
        ;;
    BACKUP)
        ipvsadm --stop-daemon master 2>/dev/null
        ipvsadm --start-daemon backup --mcast-interface "$interface" --syncid 51 || exit 1
        # No new connections any more; those that there are may end.
        ipvsadm -Sn | awk '$1 == "-a" { $1 = "-e"; for (n = 1; n < NF; n++) if ($n == "-w") $(n + 1) = 0; print }' |
            while read -r line; do
                # shellcheck disable=SC2086 # options
                ipvsadm $line || exit 1
            done || exit 1
        say "backup"
        ;;
    FAULT)
        ipvsadm --stop-daemon master 2>/dev/null || ipvsadm --stop-daemon backup 2>/dev/null
        ipvsadm -C
        say "fault"
        ;;
    *)
        say "what is $state?"
        exit 1
        ;;
esac
