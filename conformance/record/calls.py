"""ipvsadm/*.json: random calls, good and bad, each from the same table, and what they printed and changed."""

import guest

CALLS = 60
ADDRESSES = ["172.16.0.1", "172.16.0.2", "10.0.0.1", "0.0.0.0", "255.255.255.255", "127.0.0.1", "1.2", "1.2.3", "300.1.1.1",
             "", "::1", "[fd72::1]", "fd72::1", "localhost", "nosuch.invalid", "0x7f.1", "010.1.1.1", "224.0.0.1", "172.16.0.1x"]
PORTS = ["80", "53", "0", "65535", "65536", "-1", "80x", "", "http", "domain", "nosuch", "0x50", "+80", "080", " 80", "443"]
WEIGHTS = ["0", "1", "5", "65535", "65536", "2147483647", "2147483648", "-1", "1.5", "5x", "", "+3", "007", "0x10", "99999999999"]
NUMBERS = ["0", "1", "7", "300", "4294967295", "4294967296", "-1", "x", "", "1x", "2147483648", "007", "+4"]
SCHEDS = ["rr", "wrr", "lc", "wlc", "sh", "mh", "dh", "sed", "nq", "lblc", "lblcr", "fo", "ovf", "nosuch", "", "RR", "twos"]
MASKS = ["255.255.255.0", "255.255.255.255", "0.0.0.0", "24", "128", "0", "129", "255.0.255.0", "x", "", "1.2.3", "-1"]
FLAGS = ["sh-port", "sh-fallback", "mh-port", "mh-fallback", "flag-1", "flag-2", "flag-3", "sh-port,sh-fallback", "ops", "x", "",
         "flag-1,x", "sh-port,,sh-fallback", "flag-4", "sh-fallback,mh-port", "flag-1,flag-2,flag-3"]
BASES = [
    ["ipvsadm -A -t 172.16.0.1:80 -s wrr", "ipvsadm -a -t 172.16.0.1:80 -r 192.168.1.2:80 -m -w 2",
     "ipvsadm -a -t 172.16.0.1:80 -r 192.168.1.3:80 -m -w 3", "ipvsadm -A -u 172.16.0.1:53 -s rr -o",
     "ipvsadm -a -u 172.16.0.1:53 -r 192.168.1.2:53 -i --tun-type gue --tun-port 6080", "ipvsadm -A -f 1 -s sh -b sh-port -p 60",
     "ipvsadm -a -f 1 -r 192.168.1.4 -g -w 7 -x 10 -y 5"],
    ["ipvsadm -A -t 172.16.0.1:0 -s mh -b mh-port -p 100 -M 255.255.0.0", "ipvsadm -a -t 172.16.0.1:0 -r 192.168.1.2 -m",
     "ipvsadm -A --sctp-service 172.16.0.1:9 -s lc", "ipvsadm -a --sctp-service 172.16.0.1:9 -r 192.168.1.2:99 -m -w 4",
     "ipvsadm -A -t 172.16.0.1:443 -s wlc", "ipvsadm -a -t 172.16.0.1:443 -r 192.168.1.7 -i --tun-type gre --tun-csum"],
    ["ipvsadm -A -t 172.16.0.1:80 -s rr", "ipvsadm -a -t 172.16.0.1:80 -r 192.168.1.2:8080 -m -w 0 -x 100 -y 10"],
]
LISTS = ["-L", "-Ln", "-l -n", "--list", "-Lnc", "-Ln --sort", "-Ln --nosort", "-Ln --stats", "-Ln --rate", "-Ln --thresholds",
         "-Ln --persistent-conn", "-L --timeout", "-L --daemon", "-Ln --exact", "-Ln --stats --exact", "-Lc", "-S", "-Sn", "-Z",
         "-C", "--help-me", "-Ln --stats --rate", "-Ln --thresholds --persistent-conn", "-Lnc --persistent-conn",
         "-L -n -t 172.16.0.1:80", "-Ln -f 1", "-Ln -u 172.16.0.1:53", "-Ln -t 172.16.0.1:81", "-Z -t 172.16.0.1:80",
         "-Z -f 9", "--set 0 0 0", "-Ln -c --stats", "-Ln -6", "-Ln --tun-info", "-Ln --stats -t 172.16.0.1:80", "-l --exact",
         "-L -t 172.16.0.1:0", "-Ln --sctp-service 172.16.0.1:9", "-S -t 172.16.0.1:80", "-Lnc -t 172.16.0.1:80", "-C -n"]


def quoted(word):
    return f"'{word}'" if not word or " " in word else word


def service(rng):
    kind = rng.choices(["-t", "-u", "-f", "--sctp-service", "--tcp-service", "--udp-service", "--fwmark-service"],
                       [6, 3, 3, 1, 1, 1, 1])[0]
    if kind.startswith(("-f", "--f")):
        return [kind, rng.choice(["1", "1", "2", *NUMBERS])]
    good = rng.random() < 0.7
    address = "172.16.0.1" if good else rng.choice(ADDRESSES)
    port = rng.choice(["80", "80", "53", "443", "0", "9"]) if good else rng.choice(PORTS)
    return [kind, f"{address}:{port}" if rng.random() < 0.93 else address]


def server(rng):
    good = rng.random() < 0.75
    address = f"192.168.1.{rng.choice([2, 2, 3, 4, 7, 9])}" if good else rng.choice(ADDRESSES)
    port = rng.choice(["80", "80", "53", "8080", "443"]) if good else rng.choice(PORTS)
    return ["-r" if rng.random() < 0.8 else "--real-server", f"{address}:{port}" if rng.random() < 0.8 else address]


def option(rng):
    """One option with its value, mostly one that fits."""
    pick = rng.choice
    return pick([
        lambda: ["-s", pick(SCHEDS)], lambda: ["-s", pick(SCHEDS[:6])], lambda: ["--scheduler=" + pick(SCHEDS)],
        lambda: ["-w", pick(WEIGHTS)], lambda: ["-w", pick(WEIGHTS[:6])], lambda: ["--weight", pick(WEIGHTS)],
        lambda: [pick(["-m", "-g", "-i", "--masquerading", "--gatewaying", "--ipip"])],
        lambda: ["-p"] + ([pick(NUMBERS)] if rng.random() < 0.6 else []), lambda: ["--persistent=" + pick(NUMBERS)],
        lambda: ["-M", pick(MASKS)], lambda: ["--netmask", pick(MASKS)], lambda: ["-x", pick(NUMBERS)],
        lambda: ["-y", pick(NUMBERS)], lambda: ["--u-threshold", pick(NUMBERS)], lambda: ["-b", pick(FLAGS)],
        lambda: ["--sched-flags", pick(FLAGS)], lambda: ["-o"], lambda: ["--ops"], lambda: ["-6"], lambda: ["-n"],
        lambda: ["--pe", pick(["sip", "", "x"])], lambda: ["--tun-type", pick(["ipip", "gue", "gre", "x", ""])],
        lambda: ["--tun-type", "gue", "--tun-port", pick(PORTS)], lambda: ["--tun-port", pick(PORTS)],
        lambda: ["--tun-type", pick(["gue", "gre", "ipip"]), pick(["--tun-csum", "--tun-nocsum", "--tun-remcsum"])],
        lambda: ["-i", "--tun-type", pick(["gue", "gre"]), "--tun-port", "5555", "--tun-csum"],
        lambda: [pick(["-c", "--stats", "--rate", "--sort", "--nosort", "--timeout", "--exact", "-q", "--bogus", "extra"])],
        lambda: ["-t", "172.16.0.1:80"], lambda: ["-f", "3"], lambda: ["--syncid", pick(NUMBERS)],
        lambda: ["--mcast-interface", pick(["ext0", "nosuch", ""])],
    ])()


def call(rng):
    command = rng.choices(["-A", "-E", "-D", "-a", "-e", "-d", "list", "--set", "daemon", "any", "-R"],
                          [16, 10, 5, 20, 14, 6, 8, 4, 3, 4, 2])[0]
    long = {"-A": "--add-service", "-E": "--edit-service", "-D": "--delete-service", "-a": "--add-server",
            "-e": "--edit-server", "-d": "--delete-server"}
    if command == "list":
        words = rng.choice(LISTS).split()
        if rng.random() < 0.2:
            words += option(rng)
    elif command == "--set":
        words = ["--set"] + [rng.choice(NUMBERS) for _ in range(rng.choice([3, 3, 3, 2, 4]))]
    elif command == "daemon":
        words = [rng.choice(["--start-daemon", "--stop-daemon"]), rng.choice(["master", "backup", "x", ""])]
        # A daemon that runs would need its packets taken up.
        words += rng.choice([["--mcast-interface", "nosuch"], ["--syncid", rng.choice(NUMBERS[4:8])], ["extra"]])
    elif command == "-R":
        return "ipvsadm -R", "".join(f"{' '.join(call(rng)[0].split()[1:])}\n" for _ in range(rng.randint(1, 4)))
    elif command == "any":
        words = [word for _ in range(rng.randint(0, 4)) for word in option(rng)]
    else:
        words = [command if rng.random() < 0.85 else long[command]]
        if rng.random() < 0.95:
            words += service(rng)
        if command in "-a -e -d".split() and rng.random() < 0.95 or rng.random() < 0.03:
            words += server(rng)
        for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 4])):
            words += option(rng)
    if rng.random() < 0.04:
        rng.shuffle(words)
    return " ".join(["ipvsadm", *map(quoted, words)]), None


def reset(director, base):
    director.run("ipvsadm -C")
    for line in base:
        director.run(line)
    director.run("ipvsadm --set 900 120 300")


def record(rng, name, kernel, save):
    base = rng.choice(BASES)
    steps = [{"base": base}]
    director = guest.Director()
    reset(director, base)
    before = director.run("ipvsadm -Sn")[1]
    for _ in range(CALLS):
        line, given = call(rng)
        status, out, err = director.run(line, given)
        if status < 0:
            continue
        step = {"cmd": line, "rc": status, "out": out, "err": err}
        if given is not None:
            step["stdin"] = given
        after = director.run("ipvsadm -Sn")[1]
        step["state_after_Sn"] = "unchanged" if after == before else after
        if after != before or "--set" in line or given:
            director.run("ipvsadm --stop-daemon master")
            director.run("ipvsadm --stop-daemon backup")
            reset(director, base)
            assert director.run("ipvsadm -Sn")[1] == before
        steps.append(step)
    director.close()
    save("ipvsadm", f"calls-{name}", {"kernel": kernel, "id": f"calls-{name}", "desc": "random calls", "steps": steps})
