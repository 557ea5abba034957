# SPDX-License-Identifier: GPL-2.0-or-later
"""Record real request traffic: redis-server in one network namespace, redis-benchmark with many connections in another.

Small requests over many long-lived TCP connections, each with one request under way: what a busy key-value server, or any
RPC server, receives. What arrives at the server's side of the veth pair is recorded; the set-up is record_capture.py's.

Needs root, iproute2, ethtool, tcpdump, redis-server and redis-tools. Nothing leaves the machine.

    python3 tools/record_redis_capture.py examples/captures/redis.pcap
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from record_capture import CLIENT_NS, SERVER_NS, SERVER_V4, two_hosts

REDIS_PORT = 6379
CONNECTIONS = 200
VALUE_BYTES = 200


def record(path: Path, packets: int, rate: str) -> None:
    """Record ``packets`` frames that the server receives."""
    for tool in ("ip", "ethtool", "tcpdump", "redis-server", "redis-benchmark"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing: install iproute2, ethtool, tcpdump, redis-server and redis-tools")
    if os.geteuid() != 0:
        sys.exit("network namespaces need root")
    in_server, in_client = ("ip", "netns", "exec", SERVER_NS), ("ip", "netns", "exec", CLIENT_NS)
    with two_hosts(rate), contextlib.ExitStack() as stack:
        server = subprocess.Popen(
            (*in_server, "redis-server", "--bind", SERVER_V4, "--protected-mode", "no", "--save", "", "--port", str(REDIS_PORT)),
            stdout=subprocess.DEVNULL,
        )
        stack.callback(server.kill)
        while subprocess.run((*in_client, "redis-cli", "-h", SERVER_V4, "ping"), capture_output=True, check=False).returncode:
            time.sleep(0.05)
        load = subprocess.Popen(
            (*in_client, "redis-benchmark", "-h", SERVER_V4, "-c", str(CONNECTIONS), "-n", "400000", "-d", str(VALUE_BYTES),
             "-r", "100000", "-t", "set,get", "-q"),
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(load.kill)
        time.sleep(1.0)  # the connections stand and the caches are warm
        subprocess.run(
            (*in_server, "tcpdump", "-i", "sn-server", "-Q", "in", "-s", "96", "-B", "32768", "-n", "-Z", "root",
             "--time-stamp-precision=nano", "-c", str(packets), "-w", str(path), f"tcp port {REDIS_PORT}"),
            check=True,
        )  # fmt: skip


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Record a redis server's incoming traffic between two namespaces.")
    parser.add_argument("path", type=Path, help="the pcap file to write")
    parser.add_argument("--packets", type=int, default=7000, help="packets to keep (default 7000)")
    parser.add_argument("--rate", default="1gbit", help="rate of the link, empty for none (default 1gbit)")
    args = parser.parse_args()
    record(args.path, args.packets, args.rate)


if __name__ == "__main__":
    main()
