# SPDX-License-Identifier: GPL-2.0-or-later
"""Record real traffic between two network namespaces of this machine.

A server in one namespace, its clients in the other: nginx, which answers an API's small requests on many kept-alive
connections (wrk); a small web server, to which browsers upload and from which they fetch files of mixed sizes over IPv4
and IPv6, opening and closing connections; and a resolver that is asked over UDP. What arrives at the server's side of
the veth pair is recorded with tcpdump. Segmentation offload is switched off on both ends, so that frames are
what a wire would carry, and a token bucket gives the link its rate.

Needs root and Debian's iproute2, ethtool, tcpdump, nginx-light and wrk. Nothing leaves the machine.

    python3 tools/record_capture.py examples/captures/web.pcap
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import http.server
import os
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

SERVER_NS, CLIENT_NS = "softnet-server", "softnet-client"
SERVER_V4, CLIENT_V4 = "10.77.0.1", "10.77.0.2"
SERVER_V6, CLIENT_V6 = "fd77::1", "fd77::2"
HTTP_PORT, DNS_PORT, API_PORT = 8080, 53, 80
CONNECTIONS = 24
API_CONNECTIONS = 192
# Sizes of uploads in bytes: form posts, API calls, images, and a few large files.
UPLOADS = (200, 600, 1_200, 2_500, 4_000, 9_000, 24_000, 60_000, 150_000)
DOWNLOADS = (300, 2_000, 20_000)
RESOLVERS = 8


NGINX_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000;
  server {{
    listen {port};
    location / {{ return 200 '{{"status": "ok", "items": [1, 2, 3]}}'; }}
  }}
}}
"""


def run(*command: str) -> None:
    subprocess.run(command, check=True)


@contextlib.contextmanager
def two_hosts(rate: str) -> Iterator[None]:
    """Two namespaces joined by a veth pair with a rate; gone afterwards."""
    try:
        for name in (SERVER_NS, CLIENT_NS):
            run("ip", "netns", "add", name)
        run(
            "ip",
            "link",
            "add",
            "sn-server",
            "netns",
            SERVER_NS,
            "type",
            "veth",
            "peer",
            "name",
            "sn-client",
            "netns",
            CLIENT_NS,
        )
        for name, device, v4, v6 in (
            (SERVER_NS, "sn-server", SERVER_V4, SERVER_V6),
            (CLIENT_NS, "sn-client", CLIENT_V4, CLIENT_V6),
        ):
            inside = ("ip", "netns", "exec", name)
            run(*inside, "ip", "addr", "add", f"{v4}/24", "dev", device)
            run(*inside, "ip", "addr", "add", f"{v6}/64", "dev", device, "nodad")
            run(*inside, "ip", "link", "set", device, "up")
            run(*inside, "ip", "link", "set", "lo", "up")
            run(*inside, "ethtool", "-K", device, "tso", "off", "gso", "off", "gro", "off")
            if rate:
                shape = ("tbf", "rate", rate, "burst", "32k", "limit", "2m")
                run(*inside, "tc", "qdisc", "add", "dev", device, "root", *shape)
        yield
    finally:
        for name in (SERVER_NS, CLIENT_NS):
            subprocess.run(("ip", "netns", "del", name), check=False, stderr=subprocess.DEVNULL)


class Handler(http.server.BaseHTTPRequestHandler):
    """Takes uploads, and answers a GET with as many random bytes as its path asks for."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        left = int(self.headers["Content-Length"])
        digest = hashlib.sha256()
        while left:
            data = self.rfile.read1(min(left, 65536))
            if not data:
                return
            digest.update(data)
            left -= len(data)
        self.answer(digest.hexdigest().encode())

    def do_GET(self) -> None:
        self.answer(os.urandom(int(self.path.rpartition("/")[2])))

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Say nothing: the terminal belongs to the recording."""


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection, on IPv4 and IPv6 alike."""

    address_family = socket.AF_INET6
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256


def serve() -> None:
    """The server's side: HTTP on [::], and answers to DNS questions."""
    server = Server(("::", HTTP_PORT), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    resolver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    resolver.bind((SERVER_V4, DNS_PORT))
    print("ready", flush=True)
    while True:
        query, peer = resolver.recvfrom(1500)
        # The question again, with one A record for it.
        header = query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
        record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(SERVER_V4)
        resolver.sendto(header + query[12:] + record, peer)


async def request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str, body: bytes) -> None:
    writer.write(head.encode() + body)
    await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    length = int(answer.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)


async def client(number: int, stop: float) -> None:
    """One user: some connections one after the other, several requests on each, a think time between."""
    host = SERVER_V6 if number % 4 == 3 else SERVER_V4
    turn = number
    while time.monotonic() < stop:
        reader, writer = await asyncio.open_connection(host, HTTP_PORT)
        for _ in range(1 + turn % 5):
            if turn % 3:
                size = UPLOADS[(turn * 7 + number) % len(UPLOADS)]
                head = f"PUT /upload/{number} HTTP/1.1\r\nHost: server\r\nContent-Length: {size}\r\n\r\n"
                await request(reader, writer, head, os.urandom(size))
            else:
                size = DOWNLOADS[turn % len(DOWNLOADS)]
                await request(reader, writer, f"GET /file/{size} HTTP/1.1\r\nHost: server\r\n\r\n", b"")
            turn += 1
            await asyncio.sleep(0.001 * (turn % 4))
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def resolve(number: int, stop: float) -> None:
    """A stub resolver: a new port for each name, an A and an AAAA question at once, as resolvers do."""
    turn = 0
    loop = asyncio.get_running_loop()
    while time.monotonic() < stop:
        name = f"host{number}-{turn}"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            await loop.sock_connect(sock, (SERVER_V4, DNS_PORT))
            for kind in (1, 28):
                question = bytes([len(name)]) + name.encode() + b"\x07example\x00" + struct.pack("!HH", kind, 1)
                query = struct.pack("!HHHHHH", (number << 8 | turn) & 0xFFFF, 0x0100, 1, 0, 0, 0) + question
                await loop.sock_sendall(sock, query)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(sock, 1500), 0.5)
        turn += 1
        await asyncio.sleep(0.002 * (turn % 3))


async def drive(seconds: float, what: str) -> None:
    stop = time.monotonic() + seconds
    if what == "web":
        await asyncio.gather(*(client(number, stop) for number in range(CONNECTIONS)))
    else:
        await asyncio.gather(*(resolve(number, stop) for number in range(RESOLVERS)))


def record(path: Path, seconds: float, packets: int, rate: str) -> None:
    for tool in ("ip", "ethtool", "tcpdump", "nginx", "wrk"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: install iproute2, ethtool, tcpdump, nginx-light and wrk")
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    script = str(Path(__file__).resolve())
    in_server = ("ip", "netns", "exec", SERVER_NS)
    with two_hosts(rate), contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        configuration = Path(directory, "nginx.conf")
        configuration.write_text(NGINX_CONFIGURATION.format(directory=directory, port=API_PORT), encoding="utf-8")
        nginx = subprocess.Popen((*in_server, "nginx", "-p", directory, "-c", str(configuration)))
        stack.callback(nginx.wait)
        stack.callback(nginx.terminate)
        server = subprocess.Popen((*in_server, sys.executable, script, "--serve"), stdout=subprocess.PIPE)
        stack.callback(server.kill)
        assert server.stdout is not None
        server.stdout.readline()
        in_client = ("ip", "netns", "exec", CLIENT_NS)
        command = (*in_client, sys.executable, script, "--seconds", str(seconds), "--drive")
        api = (
            "wrk",
            "-t1",
            f"-c{API_CONNECTIONS}",
            f"-d{round(seconds)}s",
            f"http://{SERVER_V4}:{API_PORT}/v1/items?page=1",
        )
        drivers = [subprocess.Popen((*command, what)) for what in ("web", "dns")]
        drivers.append(subprocess.Popen((*in_client, *api), stdout=subprocess.DEVNULL))
        time.sleep(seconds / 3)  # until every client is at work
        tcpdump = subprocess.Popen(
            (
                *in_server,
                "tcpdump",
                "-i",
                "sn-server",
                "-Q",
                "in",
                "-s",
                "96",
                "-B",
                "32768",
                "-n",
                "-Z",
                "root",
                "--time-stamp-precision=nano",
                "-c",
                str(packets),
                "-w",
                str(path),
                f"tcp port {API_PORT} or tcp port {HTTP_PORT} or udp port {DNS_PORT}",
            ),
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(tcpdump.kill)
        assert tcpdump.stderr is not None
        while "listening on" not in tcpdump.stderr.readline():
            if tcpdump.poll() is not None:
                sys.exit("tcpdump did not start")
        for driver in drivers:
            driver.wait()
        tcpdump.terminate()
        print(tcpdump.stderr.read().strip())


def main() -> None:
    parser = argparse.ArgumentParser(description="Record real traffic between two network namespaces.")
    parser.add_argument("path", nargs="?", type=Path, help="the pcap file to write")
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        help="how long the clients work, in seconds; recorded from a third on (default 3)",
    )
    parser.add_argument("--packets", type=int, default=7000, help="packets to keep (default 7000)")
    parser.add_argument("--rate", default="1gbit", help="rate of the link, empty for none (default 1gbit)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--drive", choices=("web", "dns"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve()
    elif args.drive is not None:
        asyncio.run(drive(args.seconds, args.drive))
    elif args.path is None:
        parser.error("where should the capture be written?")
    else:
        record(args.path, args.seconds, args.packets, args.rate)


if __name__ == "__main__":
    main()
