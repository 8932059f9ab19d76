"""sched/*.json: which server each connection got, with random services, servers and changes."""

import time

import frames
import guest

SCHEDULERS = "rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh".split()
METHODS = {"nat": "-m", "dr": "-g", "tun": "-i"}
FLAGS = {"sh": ["sh-port", "sh-fallback", "sh-fallback,sh-port"], "mh": ["mh-port", "mh-fallback", "mh-fallback,mh-port"]}
CASES = 12
PATIENCE = 6


def weights(rng):
    """How heavy servers are: each kind of list makes other paths of a scheduler matter."""
    kind = rng.randrange(8)
    return {
        0: lambda: 1,
        1: lambda: rng.randint(0, 3),
        2: lambda: rng.randint(1, 10),
        3: lambda: rng.choice([2, 4, 6, 8, 10, 12]),
        4: lambda: rng.choice([0, 1, 100, 1000, 65536]),
        5: lambda: rng.randint(1, 2**31 - 1) if rng.random() < 0.2 else rng.randint(1, 300),
        6: lambda: rng.choice([0, 5, 10]),
        7: lambda: rng.randint(20, 260),
    }[kind]


class Case:
    """One case while it is made."""

    def __init__(self, rng, name):
        self.rng, self.name = rng, name
        self.sched = rng.choice(SCHEDULERS)
        self.proto = rng.choice(["tcp", "tcp", "udp"])
        self.fwd = rng.choice(list(METHODS))
        self.mode = "udp" if self.proto == "udp" else rng.choice(["held", "closed", "mix", f"hold{rng.randint(1, 30)}"])
        self.weight = weights(rng)
        self.setup, self.steps, self.sysctl = [], [], {}
        self.opened = []
        self.servers = []
        if rng.random() < 0.3:
            choices = [("expire_nodest_conn", 1), ("expire_quiescent_template", 1), ("sloppy_tcp", 1),
                       ("conn_reuse_mode", rng.choice([0, 2, 3])), ("secure_tcp", 3), ("nat_icmp_send", 1)]
            self.sysctl = dict(rng.sample(choices, rng.randint(1, 2)))
        self.director = guest.Director(sysctl=self.sysctl)
        self.services()

    def services(self):
        """The lines that make the service, and the places to which clients connect."""
        rng = self.rng
        kind = rng.choice(["port"] * 6 + ["mark", "mark", "zero"])
        letter, port = ("t", 80) if self.proto == "tcp" else ("u", 53)
        flags = f" -b {rng.choice(FLAGS[self.sched])}" if self.sched in FLAGS and rng.random() < 0.7 else ""
        persist = ""
        if kind == "zero" or rng.random() < 0.2:
            mask = rng.choice(["", "", " -M 255.255.255.0", " -M 255.255.0.0", " -M 255.0.0.0", " -M 255.0.255.0"])
            persist = f" -p {rng.choice([60, 300, 360, 1000])}{mask}"
        ops = " -o" if self.proto == "udp" and rng.random() < 0.25 else ""
        if kind == "mark":
            self.do(f"iptables -t mangle -A PREROUTING -i ext0 -p {self.proto} --dport {port} -j MARK --set-mark 1")
            self.do("ip rule add fwmark 1 lookup 100")
            self.do("ip route add local 0.0.0.0/0 dev lo table 100")
            self.service, self.port = "-f 1", 0
            pool = [f"{rng.choice([8, 20, 93, 151])}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
                    for _ in range(rng.randint(3, 30))]
            self.targets = [(address, port) for address in pool]
        elif kind == "zero":
            self.service, self.port = f"-{letter} {guest.VIP}:0", 0
            self.targets = [(guest.VIP, p) for p in rng.sample(range(1, 9000), 4)]
        else:
            self.service, self.port = f"-{letter} {guest.VIP}:{port}", port
            self.targets = [(guest.VIP, port)]
        self.options = f" -s {self.sched}{flags}{persist}{ops}"
        self.do(f"ipvsadm -A {self.service}{self.options}")
        for k in range(2, 2 + rng.choice([1, 2, 3, 3, 4, 5, 7, 12])):
            self.add(k)

    def do(self, line, step=False):
        status, out, err = self.director.run(line)
        if step:
            self.steps.append(["cmd", line, status, out, err])
        else:
            self.setup.append([line, status] + ([out, err] if status or out or err else []))

    def name_of(self, k):
        suffix = "" if self.port == 0 else f":{self.port if self.fwd != 'nat' or k % 5 else self.port + 8000}"
        return f"192.168.1.{k}{suffix}"

    def bounds(self):
        if self.rng.random() >= 0.15:
            return ""
        upper = self.rng.randint(1, 12)
        return f" -x {upper}" + (f" -y {self.rng.randint(1, upper)}" if self.rng.random() < 0.5 else "")

    def add(self, k, step=False):
        self.do(f"ipvsadm -a {self.service} -r {self.name_of(k)} {METHODS[self.fwd]} -w {self.weight()}{self.bounds()}",
                step)
        self.servers.append(k)

    def change(self):
        """A command in the middle."""
        rng = self.rng
        what = rng.choice(["edit"] * 5 + ["delete"] * 3 + ["add"] * 3 + ["service", "list", "clear", "sched", "zero"])
        if what == "edit" and self.servers:
            k = rng.choice(self.servers)
            line = f"-e {self.service} -r {self.name_of(k)} {METHODS[self.fwd]} -w {self.weight()}{self.bounds()}"
            self.do(f"ipvsadm {line}", True)
        elif what == "delete" and self.servers:
            k = rng.choice(self.servers)
            self.servers.remove(k)
            self.do(f"ipvsadm -d {self.service} -r {self.name_of(k)}", True)
        elif what == "add":
            k = rng.randint(2, 20)
            if k not in self.servers:
                self.add(k, True)
        elif what == "service":
            self.do(f"ipvsadm -E {self.service}{self.options}", True)
        elif what == "sched" and rng.random() < 0.5:
            self.options = f" -s {rng.choice(SCHEDULERS)}"
            self.options += " -p 100" if self.port == 0 and "-f" not in self.service else ""
            self.do(f"ipvsadm -E {self.service}{self.options}", True)
        elif what == "clear" and rng.random() < 0.3:
            self.do("ipvsadm -C" if rng.random() < 0.5 else f"ipvsadm -D {self.service}", True)
            self.servers, old = [], list(self.servers)
            self.do(f"ipvsadm -A {self.service}{self.options}", True)
            for k in old:
                self.add(k, True)
        elif what == "list":
            self.do(f"ipvsadm -Ln{rng.choice(['', ' --nosort', ' --persistent-conn', ' --thresholds'])}", True)
        elif what == "zero":
            self.do("ipvsadm -Z", True)

    def connect(self, client, target):
        """Opens a connection as the mode says; what became of it is the step's result."""
        server = None
        if self.proto == "udp":
            packet = frames.ip(client[0], target[0], frames.UDP, frames.udp(client, target, b"x"))
        else:
            packet = self.segment(client, target, "S", 1000, 0)
        out = self.director.send("ext", packet)
        result = "drop"
        if out:
            side, mac, packet = out[0]
            seen = frames.Seen(packet)
            if side == "ext":
                result = f"icmp{seen.payload[0]}/{seen.payload[1]}" if seen.protocol == 1 else f"proto{seen.protocol}"
            elif self.fwd == "nat":
                server = (seen.target, seen.ports[1])
            else:
                server = (f"192.168.1.{int(mac[-2:], 16)}", target[1])
        if server:
            result = f"{server[0]}:{server[1]}"
        self.steps.append(["c", *client, *target, result])
        number = len(self.opened)
        self.opened.append((client, target, server) if server else None)
        if server and self.proto == "tcp":
            self.answer(number, "SA")
            self.ask(number, "A")
            if self.mode == "closed" or self.mode.startswith("hold") and self.mode != "held" and number >= int(self.mode[4:]):
                self.close(number, "fin")

    @staticmethod
    def segment(source, target, letters, seq, ack):
        return frames.ip(source[0], target[0], frames.TCP, frames.tcp(source, target, letters, seq, ack))

    def ask(self, number, letters):
        client, target, _ = self.opened[number]
        self.director.send("ext", self.segment(client, target, letters, 1001, 5001))

    def answer(self, number, letters):
        client, _, server = self.opened[number]
        if self.fwd == "nat":
            k = int(server[0].split(".")[-1])
            self.director.send("int", self.segment(server, client, letters, 5000, 1001), k)

    def close(self, number, how):
        if how == "rst":
            return self.ask(number, "R")
        self.ask(number, "FA")
        if self.fwd == "nat":
            self.answer(number, "FA")
            self.ask(number, "A")

    def client(self):
        rng = self.rng
        base = rng.choice(["10.1", "100.64", "198.18", "203.0"])
        return f"{base}.{rng.randrange(256)}.{rng.randint(1, 254)}", rng.randint(1025, 65000)

    def run(self):
        rng = self.rng
        known = [self.client() for _ in range(rng.choice([2, 6, 40]))]
        changes = rng.random() < 0.7
        for _ in range(rng.choice([20, 40, 60])):
            if changes and rng.random() < 0.12:
                self.change()
            client = rng.choice(known) if rng.random() < 0.7 else self.client()
            if rng.random() < 0.9:
                client = client[0], rng.randint(1025, 65000)
            self.connect(client, rng.choice(self.targets))
            held = [n for n, one in enumerate(self.opened) if one]
            if self.mode == "mix" and held and rng.random() < 0.4:
                number, how = rng.choice(held), rng.choice(["fin", "rst"])
                self.steps.append(["close", number, how])
                self.close(number, how)
        case = {"id": self.name, "sched": self.sched, "weights": [], "proto": self.proto, "fwd": self.fwd,
                "mode": self.mode, "setup": self.setup, "steps": self.steps,
                "final_Ln": self.director.run("ipvsadm -Ln")[1], "final_Lnc": self.director.run("ipvsadm -Lnc")[1]}
        if self.sysctl:
            case["sysctl"] = self.sysctl
        self.director.close()
        return case


def record(rng, name, kernel, save):
    cases = []
    for n in range(CASES):
        start = time.monotonic()
        case = Case(rng, f"{name}-{n}").run()
        # If this machine was busy some entries have expired meanwhile, and nobody could tell when.
        if time.monotonic() - start < PATIENCE:
            cases.append(case)
    save("sched", f"random-{name}", {"kernel": kernel, "cases": cases})
