#!/usr/bin/env python3
"""web.py NAME [PORT]: an HTTP/1.1 server, on port 80 if not told otherwise.

It answers every request with its name and the address of the client."""

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections stay open until the client closes them

    def do_GET(self):
        body = f"{sys.argv[1]} {self.client_address[0]}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


with Server(("", int(sys.argv[2]) if len(sys.argv) > 2 else 80), Handler) as server:
    print("ready", flush=True)
    server.serve_forever()
