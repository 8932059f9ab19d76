"""Repeats recordings of packets on this kernel and says what came out otherwise: a test of the recorder."""

import glob
import json
import os
import re

import guest

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/corpus/packets/*.json")


def record(rng, name, kernel, save):
    for path in sorted(glob.glob(CORPUS)):
        if os.path.basename(path).startswith(("v6", "sync", "ftp")):
            continue
        with open(path) as file:
            recording = json.load(file)
        mtu = re.search(r"int MTU (\d+)", recording["desc"])
        known = os.listdir("/proc/sys/net/ipv4/vs")
        sysctl = dict(pair for pair in re.findall(r"(\w+)=(\w+)", recording["desc"]) if pair[0] in known)
        director = guest.Director(mtu=int(mtu[1]) if mtu else 1500, sysctl=sysctl)
        same, total = 0, 0
        for event in recording["events"]:
            if "cmd" in event:
                _, out, _ = director.run(event["cmd"])
                if "Lnc" not in event["cmd"]:
                    total, same = total + 1, same + (out == event["out"])
                    if out != event["out"]:
                        print(path, event["cmd"], "was\n" + event["out"], "is\n" + out)
            elif "wait" in event:
                director.wait(event["wait"])
            else:
                got = director.send(event["tx"], bytes.fromhex(event["hex"]), event.get("from_rs"))
                want = [(out["side"], out["dmac"], bytes.fromhex(out["hex"])) for out in event["rx"]]
                cut = [(side, mac, packet[:4] + packet[6:10] + packet[12:20]) for side, mac, packet in want]
                total += 1
                if cut == [(side, mac, packet[:4] + packet[6:10] + packet[12:20]) for side, mac, packet in got]:
                    same += 1
                else:
                    print(path, event["note"], "was", event["rx"], "is", [(s, m, p.hex()) for s, m, p in got])
        director.close()
        if same != total:
            print(os.path.basename(path), f"{same} of {total} the same")
