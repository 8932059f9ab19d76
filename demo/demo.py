#!/usr/bin/env python3
"""demo.py BINARIES [WORKERS]: the three classic LVS set-ups on real HTTP requests, each in a network of its own.

Prints what it does and what it sees beside what was promised; exits with 1 if anything differs. With several workers
each schedules its own connections, so shares are right within a few connections instead of exactly.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter

from director import Director
from lab import HERE, Lab
from setups import DR, NAT, TUN

HELD = 10  # connections kept open, with two requests each
CURLS = 100  # requests on connections of their own
REQUESTS = 2 * HELD + CURLS  # of each set-up


class Demo:
    """What was answered, and how much differed from what was promised."""

    def __init__(self, binaries, workers):
        self.binaries = binaries
        self.workers = workers
        # Each worker but one may be in the middle of a round; weights are 3 at most.
        self.tolerance = 3 * (workers - 1)
        self.answered = 0
        self.differences = 0

    def near(self, found, promised):
        """Whether a number of connections is as promised."""
        return abs(found - promised) <= self.tolerance

    def check(self, what, found, promised, as_promised=None):
        differs = found != promised if as_promised is None else not as_promised
        self.differences += differs
        found, promised = (" and ".join(map(str, value)) if isinstance(value, tuple) else value
                           for value in (found, promised))
        print(f"  {what}: {found}" + (f"   DIFFERS from the promised {promised}" if differs else ", as promised"))

    def show(self, setup):
        print(f"\n=== {setup.title} ===\n")
        with Lab(f"rvs{os.getpid()}") as lab, Director(lab, self.binaries, self.workers) as director:
            transcript("director", director.command_line())
            for host, script in [("director", setup.director), *((server, setup.server) for server in setup.weights)]:
                transcript(host, script)
                director.sh(script) if host == "director" else lab.sh(host, script)

            answers = self.balance(setup, lab, director)
            self.count(setup, answers)
            if setup is NAT:
                self.masquerade(lab)
            self.check("Exit status of rvsd after SIGTERM", director.stop(), 0)

    def balance(self, setup, lab, director):
        """Sends the requests and looks at the connections while some are open, and after; gives the answers."""
        holder = lab.spawn("client", sys.executable, str(HERE / "hold.py"), setup.url, str(HELD),
                           stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        answers = [line.strip() for line in iter(holder.stdout.readline, "open\n") if line]
        transcript("client", f"curl {setup.url}   ({CURLS} times)")
        answers += curl(lab, setup.url)
        print(f"\n{HELD} connections are open, {CURLS} were closed:")
        self.connections(setup, director, active=HELD, inactive=CURLS)

        answers += holder.communicate(timeout=30)[0].splitlines()
        print("\nAll are closed:")
        self.connections(setup, director, active=0, inactive=HELD + CURLS)
        return answers

    def connections(self, setup, director, active, inactive):
        """Prints `ipvsadm -Ln` and checks ActiveConn and InActConn of each real server."""
        promised = {server: (round(active * share), round(inactive * share))
                    for server in setup.weights for share in [setup.share(server)]}
        end = time.monotonic() + 3  # the last packets may still be on their way
        while (listing := director.sh("ipvsadm -Ln").stdout) and time.monotonic() < end:
            found = parse(listing)
            if tuple(map(sum, zip(*found.values()))) == (active, inactive):
                break
            time.sleep(0.1)
        transcript("director", "ipvsadm -Ln")
        print(listing, end="")
        for server, counts in promised.items():
            near = [self.near(*pair) for pair in zip(found.get(server, (-1, -1)), counts)]
            self.check(f"ActiveConn and InActConn of {server}", found.get(server), counts, all(near))
        if self.tolerance:
            self.check("ActiveConn and InActConn of all", tuple(map(sum, zip(*found.values()))), (active, inactive))

    def count(self, setup, answers):
        """An answer is the name of a real server and the client's address as that server saw it."""
        right = [re.fullmatch(r"(rs\d) (172\.16|192\.168)\.0\.1[0-3]", answer) for answer in answers]
        by_server = Counter(answer[1] for answer in right if answer)
        self.answered += by_server.total()
        print(f"\n  {'server':8} {'weight':>6} {'answers':>8} {'share':>7} {'promised':>9}")
        for server in sorted(setup.weights.keys() | by_server.keys()):
            promised = setup.share(server)
            # A connection that is kept open carries two requests.
            differs = not self.near(by_server[server] / 2, round(REQUESTS * promised) / 2)
            self.differences += differs
            print(f"  {server:8} {setup.weights.get(server, 0):6} {by_server[server]:8} "
                  f"{by_server[server] / REQUESTS:7.1%} {promised:9.1%}" + ("   DIFFERS" if differs else ""))

    def masquerade(self, lab):
        print("\nA real server asks an outside host, through the director's kernel:")
        transcript("rs2", "curl http://172.16.0.100/")
        said = lab.sh("rs2", "curl --silent --max-time 5 http://172.16.0.100/", check=False).stdout.strip()
        self.check("who answered, and the address it was asked from", said, "outside 172.16.0.1")


def curl(lab, url):
    """Requests one after the other, each on a new connection, from four client addresses in turn."""
    network = "172.16.0" if url == NAT.url else "192.168.0"
    script = f"""
        n=0
        while [ $n -lt {CURLS} ]; do
            curl --silent --max-time 5 --interface {network}.$((10 + n % 4)) {url} || echo lost
            n=$((n + 1))
        done"""
    return lab.sh("client", script, timeout=CURLS * 6).stdout.splitlines()


def parse(listing):
    """ActiveConn and InActConn by real server."""
    rows = re.findall(r"-> \S+\.(\d+):80 +\w+ +\d+ +(\d+) +(\d+)", listing)
    return {f"rs{number}": (int(active), int(inactive)) for number, active, inactive in rows}


def transcript(host, script):
    """Prints lines of shell as if somebody had typed them on a host."""
    for line in script.splitlines():
        continues = line.startswith(" ") or line == "done"
        print(f"{' ' * len(host)}> {line}" if continues else f"{host}# {line}", flush=True)


def main():
    if os.geteuid() != 0:
        sys.exit("demo: network namespaces need root: sudo make demo")
    demo = Demo(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1)
    for setup in (NAT, TUN, DR):
        demo.show(setup)
    requests = 3 * REQUESTS
    lost = requests - demo.answered
    if demo.differences:
        print(f"\ndemo: {demo.differences} differences from what was promised, marked above")
    print(f"\ndemo: 3 set-ups, {requests} requests, {demo.answered} answered, {lost} lost")
    return 1 if lost or demo.differences else 0


def terminate(*_):
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, terminate)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\ndemo: interrupted; its network is taken away")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.exit(f"\ndemo: {error}")
