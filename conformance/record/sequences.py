"""states/tcp-seq-*.json: the state that a random sequence of segments leads to, and the time that it leaves."""

import frames
import guest

METHODS = {"nat": "-m", "dr": "-g", "tun": "-i"}
LETTERS = {"P": "PA", "F": "FA", "f": "F"}
SEQUENCES = 250
LONGEST = 5
CLIENT, SERVER = "10.7.7.7", ("192.168.1.2", 80)


def record(rng, name, kernel, save):
    fwd = rng.choice(list(METHODS))
    sysctl = rng.choice([{}, {}, {"sloppy_tcp": 1}, {"secure_tcp": 3}, {"sloppy_tcp": 1, "secure_tcp": 3}])
    extra = rng.choice([[], [], ["ipvsadm --set 1000 50 70"], ["ipvsadm --set 77 0 0"]])
    director = guest.Director(sysctl=sysctl)
    for line in [f"ipvsadm -A -t {guest.VIP}:80 -s rr", f"ipvsadm -a -t {guest.VIP}:80 -r 192.168.1.2:80 {METHODS[fwd]}", *extra]:
        assert director.run(line)[0] == 0, line
    words = ["cS", "cA", "cF", "cR", "cP", "cf", "cSA", "cRA"]
    if fwd == "nat":
        words += ["sS", "sSA", "sA", "sF", "sR", "sP", "sRA"]
    seen = {}
    while len(seen) < SEQUENCES:
        start = "cS" if not sysctl.get("sloppy_tcp") or rng.random() < 0.5 else rng.choice(words[:8])
        sequence = [start, *(rng.choice(words) for _ in range(rng.randint(1, LONGEST - 1)))]
        if " ".join(sequence) not in seen:
            client = (CLIENT, 2000 + len(seen))
            seen[" ".join(sequence)] = walk(director, client, sequence)
    director.close()
    label = f"tcp-seq-{fwd}-random-{name}"
    save("states", label, {"kernel": kernel, "id": label, "desc": "random sequences", "fwd": fwd, "sysctl": sysctl,
                           "extra_cmds": extra, "map": seen})


def walk(director, client, sequence):
    """Sends the segments; answers state and seconds left, or nothing without an entry."""
    target = (guest.VIP, 80)
    for word in sequence:
        letters = LETTERS.get(word[1:], word[1:])
        data = b"data" if word[1:] == "P" else b""
        if word[0] == "c":
            body = frames.tcp(client, target, letters, 1000, 2000, data)
            director.send("ext", frames.ip(client[0], target[0], frames.TCP, body))
        else:
            body = frames.tcp(SERVER, client, letters, 2000, 1000, data)
            director.send("int", frames.ip(SERVER[0], client[0], frames.TCP, body), 2)
    port = f"{client[1]:04X}"
    with open("/proc/net/ip_vs_conn") as file:
        rows = [line.split() for line in file.readlines()[1:]]
    rows = [row for row in rows if row[2] == port]
    return [rows[0][7], int(rows[0][8])] if rows else None
