"""The kinds of recordings, by name."""

import json
import os
import random
import time
import traceback

import again
import calls
import packets
import scheds
import sequences

KINDS = {"sched": scheds.record, "packets": packets.record, "calls": calls.record, "states": sequences.record,
         "again": again.record}


def save(output, group, name, value):
    """Writes a recording."""
    os.makedirs(f"{output}/{group}", exist_ok=True)
    with open(f"{output}/{group}/{name}.json", "w") as file:
        json.dump(value, file, separators=(",", ":"))
        file.write("\n")


def record(kind, output, kernel, count, seed):
    """Makes so many recordings of a kind from a seed."""
    start, made = time.monotonic(), 0
    for n in range(count):
        rng = random.Random(f"{kind}-{seed}-{n}")
        try:
            KINDS[kind](rng, f"{seed}-{n:03}", kernel, lambda *file: save(output, *file))
            made += 1
        except Exception:
            print(f"{kind}-{seed}-{n}:", traceback.format_exc(limit=6))
    print(f"{kind}: {made} in {time.monotonic() - start:.0f} s")
