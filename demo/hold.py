#!/usr/bin/env python3
"""hold.py URL COUNT: a client that keeps connections open.

Opens COUNT connections, a moment apart, asks once on each, and prints each answer, then `open`. When its standard input ends it asks
again on each, prints the answers, and closes. A request without an answer is a line `lost`.
"""

import http.client
import sys
import time
from urllib.parse import urlsplit


def ask(connection):
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode().strip()
    except (OSError, http.client.HTTPException) as error:
        print(f"hold.py: {error!r}", file=sys.stderr)
        return "lost"


address = urlsplit(sys.argv[1]).netloc
# What one worker of a director knows of the others' connections is a tick (10 ms) old.
APART = 0.03
connections = [http.client.HTTPConnection(address, timeout=5) for _ in range(int(sys.argv[2]))]
for connection in connections:
    print(ask(connection))
    time.sleep(APART)
print("open", flush=True)
sys.stdin.read()
for connection in connections:
    print(ask(connection))
for connection in connections:
    connection.close()
