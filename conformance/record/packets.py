"""packets/*.json: a random walk of packets, commands and settings, with every byte that came out."""

import frames
import guest

METHODS = ["-m", "-m", "-g", "-i", "-i --tun-type gre", "-i --tun-type gre --tun-csum", "-i --tun-type gue --tun-port 6080",
           "-i --tun-type gue --tun-port 6080 --tun-csum", "-i --tun-type gue --tun-port 6080 --tun-remcsum"]
SETTINGS = {"expire_nodest_conn": [0, 1], "expire_quiescent_template": [0, 1], "sloppy_tcp": [0, 1], "pmtu_disc": [0, 1],
            "conn_reuse_mode": [0, 1, 2, 3], "nat_icmp_send": [0, 1], "secure_tcp": [0, 3], "cache_bypass": [0, 1],
            "snat_reroute": [0, 1], "sloppy_sctp": [0, 1]}
CLIENTS = ["10.9.8.1", "10.9.8.2", "203.0.113.9", "198.51.100.1"]
ROUTER = "198.51.100.7"
PORTS = [1111, 2222, 3333]
EVENTS = 45
LETTERS = ["S", "A", "PA", "FA", "F", "R", "RA", "SA", "SF", "SR", "", "AU"]


class Flow:
    """A client's endpoint at a service's, and the server that its packets went to."""

    def __init__(self, protocol, client, target):
        self.protocol, self.client, self.target = protocol, client, target
        self.server, self.nat = None, False
        self.seq = 1000


class Walk:
    """One recording while it is made."""

    def __init__(self, rng, mtu):
        self.rng = rng
        self.events, self.flows = [], []
        self.director = guest.Director(mtu=mtu)
        self.services = {}
        self.ident = 1

    # Commands

    def do(self, line):
        status, out, err = self.director.run(line)
        self.events.append({"cmd": line, "rc": status, "out": out, "err": err})
        return status

    def wait(self, seconds):
        self.director.wait(seconds)
        self.events.append({"wait": seconds, "rx": [self.out(*one) for one in self.director.drain()]})

    def weight(self):
        return f"-w {self.rng.choice([0, 1, 1, 1, 2, 3])}" if self.rng.random() < 0.4 else ""

    def add_service(self, name, options):
        if self.do(f"ipvsadm -A {name} {options}".strip()) == 0:
            self.services[name] = {}
            for k in self.rng.sample(range(2, 7), self.rng.randint(1, 3)):
                self.add_server(name, k)

    def add_server(self, name, k):
        rng = self.rng
        method = rng.choice(METHODS) if rng.random() < 0.5 else self.method
        port = ""
        if not name.startswith("-f") and not name.endswith(":0"):
            port = f":{rng.choice([8080, 8080, 80])}" if method == "-m" else f":{name.rpartition(':')[2]}"
        server = f"192.168.1.{k}{port}"
        if rng.random() < 0.03:
            server = f"192.168.1.1{port}"
        bounds = f" -x {rng.randint(1, 3)}" if rng.random() < 0.1 else ""
        if self.do(f"ipvsadm -a {name} -r {server} {method} {self.weight()}{bounds}".strip()) == 0:
            self.services[name][server] = method

    def setup(self):
        rng = self.rng
        self.method = rng.choice(METHODS)
        for name in rng.sample(list(SETTINGS), rng.choice([0, 0, 1, 2])):
            self.setting(name)
        scheds = ["rr", "rr", "wlc", "wrr", "sh", "lc", "mh", "lblc", "dh", "sed"]
        persist = lambda: f" -p {rng.choice([300, 60])}" if rng.random() < 0.25 else ""
        self.add_service("-t 172.16.0.1:80", f"-s {rng.choice(scheds)}{persist()}")
        ops = " -o" if rng.random() < 0.15 else ""
        self.add_service("-u 172.16.0.1:53", f"-s {rng.choice(scheds)}{persist()}{ops}")
        if rng.random() < 0.25:
            self.add_service("-t 172.16.0.1:0", f"-s rr -p {rng.choice([300, 100])}")
        if rng.random() < 0.25:
            self.add_service("--sctp-service 172.16.0.1:9", "-s rr")
        if rng.random() < 0.25:
            self.do("iptables -t mangle -A PREROUTING -i ext0 -p tcp --dport 8000:8009 -j MARK --set-mark 7")
            self.do("ip rule add fwmark 7 lookup 100")
            self.do("ip route add local 0.0.0.0/0 dev lo table 100")
            self.add_service("-f 7", f"-s rr{persist()}")

    def setting(self, name):
        self.do(f"sysctl -w net.ipv4.vs.{name}={self.rng.choice(SETTINGS[name])}")

    def command(self):
        rng = self.rng
        name = rng.choice(list(self.services) or ["-t 172.16.0.1:80"])
        servers = self.services.get(name, {})
        what = rng.choice(["edit", "edit", "delete", "add", "list", "connections", "setting", "clear", "stats"])
        if what == "edit" and servers:
            server = rng.choice(list(servers))
            self.do(f"ipvsadm -e {name} -r {server} {servers[server]} -w {rng.choice([0, 1, 2])}")
        elif what == "delete" and servers:
            server = rng.choice(list(servers))
            self.do(f"ipvsadm -d {name} -r {server}")
            self.services[name].pop(server)
        elif what == "add" and name in self.services:
            self.add_server(name, rng.randint(2, 6))
        elif what == "list":
            self.do("ipvsadm -Ln")
        elif what == "connections":
            self.do("ipvsadm -Lnc")
        elif what == "setting":
            self.setting(rng.choice(list(SETTINGS)))
        elif what == "clear" and rng.random() < 0.2:
            self.do(f"ipvsadm -D {name}")
            self.services.pop(name, None)
        elif what == "stats" and rng.random() < 0.3:
            self.wait(2.3)
            self.do("ipvsadm -Ln --stats")

    # Packets

    @staticmethod
    def out(side, mac, packet):
        return {"side": side, "dmac": mac, "hex": packet.hex()}

    def send(self, side, note, packet, server=None):
        out = self.director.send(side, packet, server)
        event = {"tx": side, "note": note, "hex": packet.hex(), "rx": [self.out(*one) for one in out]}
        if server:
            event["from_rs"] = server
        self.events.append(event)
        return out

    def header(self):
        """Fields of the IP header."""
        rng = self.rng
        self.ident += 1
        return {"ttl": rng.choice([64] * 8 + [1, 2, 255]), "tos": rng.choice([0] * 5 + [1, 2, 3, 0x10, 0xB8, 0xFF]),
                "ident": self.ident, "df": rng.random() < 0.6,
                "options": rng.choice([b""] * 12 + [b"\x01\x01\x01\x00", b"\x94\x04\0\0"])}

    def data(self):
        rng = self.rng
        length = rng.choice([0, 1, 4, 7, 40, 500, 1200, 1400, 1430, 1452, 1460, 1472])
        return bytes(n * 7 & 255 for n in range(length))

    def body(self, flow, source, target, letters=None):
        """A transport payload of this flow, and its description."""
        rng = self.rng
        if flow.protocol == frames.UDP:
            mode = rng.choice(["good"] * 8 + ["none", "bad"])
            data = self.data()
            return frames.udp(source, target, data, mode), f"UDP {len(data)} bytes, checksum {mode}"
        if flow.protocol == frames.SCTP:
            kind = rng.choice([1, 2, 10, 11, 0, 3, 7, 8, 14, 6, 9])
            return frames.sctp(source[1], target[1], kind), f"SCTP chunk {kind}"
        letters = rng.choice(LETTERS) if letters is None else letters
        data = self.data() if letters in ("A", "PA") else b""
        options = b"\x02\x04\x05\xb4" if "S" in letters else b""
        flow.seq += len(data) + 1
        return frames.tcp(source, target, letters, flow.seq, 5000 if "A" in letters else 0, data, options,
                          rng.random() < 0.03), f"TCP {letters or 'no flag'} {len(data)} bytes"

    def learn(self, flow, out):
        """Which server a packet went to."""
        for side, mac, packet in out:
            if side == "int":
                seen, k = frames.Seen(packet), int(mac[-2:], 16)
                plain = seen.protocol == flow.protocol and seen.source == flow.client[0]
                port = seen.ports[1] if plain and seen.ports[1] else flow.target[1]
                flow.server, flow.nat = (k, (f"192.168.1.{k}", port)), plain and seen.target != flow.target[0]

    def ask(self, flow, letters=None):
        body, note = self.body(flow, flow.client, flow.target, letters)
        packet = frames.ip(flow.client[0], flow.target[0], flow.protocol, body, **self.header())
        if len(packet) > 1500:
            packet = frames.ip(flow.client[0], flow.target[0], flow.protocol, body, ttl=64)[:1500]
            packet = frames.ip(flow.client[0], flow.target[0], flow.protocol, packet[20:], ttl=64)
        self.learn(flow, self.send("ext", f"client {note}", packet))

    def answer(self, flow, letters=None):
        if not flow.server:
            return
        k, server = flow.server
        body, note = self.body(flow, server, flow.client, letters)
        packet = frames.ip(server[0], flow.client[0], flow.protocol, body, **self.header())
        if len(packet) <= 1500:
            self.send("int", f"server {note}", packet, k)

    def new_flow(self):
        rng = self.rng
        name = rng.choice(list(self.services) or ["-t 172.16.0.1:80"])
        kind, _, address = name.partition(" ")
        protocol = {"-t": frames.TCP, "-u": frames.UDP, "-f": frames.TCP, "--sctp-service": frames.SCTP}[kind]
        if kind == "-f":
            target = (rng.choice(["172.16.0.1", "198.18.5.5", "93.184.216.34"]), rng.randint(8000, 8009))
        else:
            target = (address.split(":")[0], int(address.split(":")[1]) or rng.choice([21, 443, 9999]))
        if rng.random() < 0.05:
            target = (target[0], rng.choice([81, 54]))
        flow = Flow(protocol, (rng.choice(CLIENTS), rng.choice(PORTS)), target)
        self.flows.append(flow)
        self.ask(flow, "S" if rng.random() < 0.85 else None)
        if protocol == frames.TCP and rng.random() < 0.7:
            self.answer(flow, "SA")
            self.ask(flow, "A")

    def fragmented(self):
        rng = self.rng
        flow = rng.choice(self.flows)
        if flow.protocol != frames.UDP or flow.target[1] != 53:
            return
        back = flow.nat and rng.random() < 0.4
        source, target = (flow.server[1], flow.client) if back else (flow.client, flow.target)
        self.ident += 1
        data = bytes(n * 11 & 255 for n in range(rng.choice([100, 1600, 3000, 4000])))
        packet = frames.ip(source[0], target[0], frames.UDP, frames.udp(source, target, data), ident=self.ident, df=False,
                           tos=rng.choice([0, 0, 0x10]), ttl=rng.choice([64, 64, 2]))
        pieces = frames.fragments(packet, rng.choice([1480, 1480, 800, 64 if len(data) < 200 else 1000]))
        order = rng.choice(["in order", "in order", "reversed", "shuffled", "first lost", "last lost", "twice"])
        if order == "reversed":
            pieces.reverse()
        elif order == "shuffled":
            rng.shuffle(pieces)
        elif order == "first lost":
            pieces = pieces[1:]
        elif order == "last lost":
            pieces = pieces[:-1]
        elif order == "twice":
            pieces = [pieces[0], *pieces]
        for n, piece in enumerate(pieces):
            out = self.send("int" if back else "ext", f"fragment {n}, {order}", piece, flow.server[0] if back else None)
            if not back:
                self.learn(flow, out)

    def error(self):
        """An ICMP error about a packet of a flow."""
        rng = self.rng
        flow = rng.choice(self.flows)
        kind, code, rest = rng.choice([(3, 0, 0), (3, 1, 0), (3, 3, 0), (3, 4, 1300), (3, 4, 1000), (3, 13, 0), (4, 0, 0),
                                       (11, 0, 0), (11, 1, 0), (12, 0, 0), (5, 1, 0x0A000063)])
        about_reply = rng.random() < 0.5 or not flow.server
        if about_reply:
            source, target, sender, side = flow.target, flow.client, rng.choice([flow.client[0], ROUTER]), "ext"
            towards = flow.target[0]
        else:
            source, target, side = flow.client, flow.server[1], "int"
            sender, towards = rng.choice([flow.server[1][0], "192.168.1.50"]), flow.client[0]
        body, note = self.body(flow, source, target, "A")
        quoted = frames.ip(source[0], target[0], flow.protocol, body, ttl=50, ident=77, df=rng.random() < 0.5)
        quoted = quoted[:rng.choice([28, 28, 40, 200, 548, 24, 20])]
        message = frames.icmp(kind, code, rest, quoted, rng.random() < 0.05)
        self.ident += 1
        packet = frames.ip(sender, towards, frames.ICMP, message, ident=self.ident, tos=0xC0, df=False,
                           ttl=rng.choice([64, 64, 1]))
        k = (flow.server[0] if flow.server and sender == flow.server[1][0] else 50) if side == "int" else None
        self.send(side, f"ICMP {kind}/{code} about {note}, {len(quoted)} bytes quoted", packet, k)

    def outer_error(self):
        """An ICMP error about a tunnel's packet that the director sent."""
        rng = self.rng
        tunnelled = [bytes.fromhex(out["hex"]) for event in self.events for out in event.get("rx", [])
                     if out["side"] == "int" and out["hex"][18:20] in ("04", "2f", "11") and out["hex"][24:32] == "c0a80101"]
        if not tunnelled:
            return
        about = rng.choice(tunnelled)
        kind, code, rest = rng.choice([(3, 1, 0), (3, 2, 0), (3, 3, 0), (3, 4, 1300), (11, 0, 0), (4, 0, 0)])
        quoted = about[:rng.choice([28, 48, 68, 200, 548])]
        sender = rng.choice([frames.Seen(about).target, "192.168.1.50"])
        packet = frames.ip(sender, "192.168.1.1", frames.ICMP, frames.icmp(kind, code, rest, quoted), df=False, ident=5)
        self.send("int", f"ICMP {kind}/{code} about a tunnel's packet, {len(quoted)} bytes quoted", packet,
                  int(sender.split(".")[-1]))

    def stray(self):
        rng = self.rng
        client = (rng.choice(CLIENTS), rng.choice(PORTS))
        k = rng.randint(2, 6)
        what = rng.choice(["echo", "port", "server", "ahead", "short"])
        if what == "echo":
            message = frames.icmp(8, 0, 0x00010002, b"ping" * 5)
            self.send("ext", "echo", frames.ip(client[0], "172.16.0.1", frames.ICMP, message, **self.header()))
        elif what == "port":
            target = ("172.16.0.1", rng.choice([81, 54, 8081]))
            body = frames.tcp(client, target, rng.choice(LETTERS), 7, 0) if rng.random() < 0.5 else None
            protocol = frames.TCP if body else frames.UDP
            body = body or frames.udp(client, target, b"hello")
            self.send("ext", "no such service", frames.ip(client[0], target[0], protocol, body, ident=3))
        elif what == "server":
            source = (f"192.168.1.{k}", rng.choice([80, 8080, 53, 4444]))
            protocol = rng.choice([frames.TCP, frames.UDP])
            body = frames.tcp(source, client, rng.choice(LETTERS), 9, 9) if protocol == frames.TCP else \
                frames.udp(source, client, b"out")
            self.send("int", "a server by itself", frames.ip(source[0], client[0], protocol, body, ident=4), k)
        elif what == "ahead":
            target = ("172.16.0.1", 80)
            body = frames.tcp(client, target, rng.choice(["A", "PA", "FA", "R", "SA"]), 9, 9)
            self.send("ext", "without a beginning", frames.ip(client[0], target[0], frames.TCP, body, ident=4))
        else:
            target = ("172.16.0.1", rng.choice([80, 53]))
            protocol = frames.TCP if target[1] == 80 else frames.UDP
            body = (frames.tcp(client, target, "S", 9) if target[1] == 80 else frames.udp(client, target, b"abc"))
            self.send("ext", "cut short", frames.ip(client[0], target[0], protocol, body[:rng.choice([2, 4, 7, 8, 12])],
                                                    ident=4))

    def run(self):
        rng = self.rng
        self.setup()
        kinds = {"new": 5, "ask": 7, "answer": 7, "command": 3, "error": 2, "outer": 1, "fragments": 1, "stray": 1}
        while len(self.events) < EVENTS:
            what = rng.choices(list(kinds), list(kinds.values()))[0]
            if what == "new" or not self.flows:
                self.new_flow()
            elif what == "ask":
                self.ask(rng.choice(self.flows[-4:]))
            elif what == "answer":
                self.answer(rng.choice(self.flows[-4:]))
            else:
                {"command": self.command, "error": self.error, "outer": self.outer_error, "fragments": self.fragmented,
                 "stray": self.stray}[what]()
        self.do("ipvsadm -Ln")
        self.do("ipvsadm -Lnc")
        if rng.random() < 0.3:
            self.wait(2.3)
            self.do("ipvsadm -Ln --stats")
        self.director.close()
        return self.events


def record(rng, name, kernel, save):
    mtu = rng.choice([1500, 1500, 1500, 1400])
    events = Walk(rng, mtu).run()
    save("packets", f"walk-{name}", {"kernel": kernel, "id": f"walk-{name}", "desc": f"random walk, int MTU {mtu}",
                                     "events": events})
