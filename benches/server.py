#!/usr/bin/env python3
"""Measures a server: benches/server.py BINARY [--api 50] [--idle 200] [--seconds 60]

  --api N   the response times of the API while N topologies run, each at 10 posts a second
  --idle N  the CPU time and the memory of the server and of N topologies that follow empty folders

BINARY is a release build. CPU time is read from /proc, so other load on the machine changes it little;
response times are wall time.
"""

import argparse
import http.client
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

FOLLOW = """Topology(
    name: "{name}",
    spouts: {{"in": Spout(run: Lines(paths: ["{folder}/in/*.ndjson"], follow: true))}},
    bolts: {{"lake": Bolt(run: Local(root: "{folder}/lake"), inputs: [Shuffle("in")])}},
)"""
CAPTURE = """Topology(
    name: "{name}",
    spouts: {{"in": Spout(run: Generate(rate: 10))}},
    bolts: {{"lake": Bolt(run: Local(root: "{folder}/lake"), inputs: [Shuffle("in")])}},
)"""
REQUESTS = 2_000


class Server:
    """A server with a state of its own, which ends with the block."""

    def __init__(self, binary, root):
        self.root = pathlib.Path(root)
        command = [binary, "serve", "--listen", "127.0.0.1:0", "--state", f"{root}/state"]
        command += ["--allow-path", root, "--max-topologies", "1000"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self.url = next(filter(None, (self.url_in(line) for line in self.process.stderr)))
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.token = (self.root / "state/token").read_text().strip()
        self.connection = http.client.HTTPConnection(self.url.split("//")[1], timeout=120)

    @staticmethod
    def url_in(line):
        return json.loads(line).get("url") if line.startswith("{") else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def ask(self, method, path, body=None):
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        self.connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        assert answer.status < 300, (path, answer.status, content)
        return json.loads(content)

    def submit(self, count, topology):
        for number in range(count):
            folder = self.root / f"t{number}"
            (folder / "in").mkdir(parents=True)
            text = topology.format(name=f"t{number}", folder=folder)
            self.ask("POST", "/api/v1/topologies", {"topology": text})
        while any(one["state"] != "running" for one in self.topologies()):
            time.sleep(0.5)

    def topologies(self):
        return self.ask("GET", "/api/v1/topologies")["topologies"]


def cpu_seconds(pid):
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(pid, key):
    lines = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1e3


def measure_idle(server, count, seconds):
    server.submit(count, FOLLOW)
    pids = [server.process.pid] + [one["pid"] for one in server.topologies()]
    time.sleep(15)
    before, began = [cpu_seconds(pid) for pid in pids], time.monotonic()
    time.sleep(seconds)
    took = time.monotonic() - began
    used = [(cpu_seconds(pid) - then) / took * 100 for pid, then in zip(pids, before)]
    print(f"{count} idle topologies: {sum(used):.2f} % of a core (the server {used[0]:.2f} %)")
    shared = sum(memory(pid, "Pss:") for pid in pids)
    print(f"memory: {shared:.0f} MB in all; a topology {memory(pids[1], 'Rss:'):.1f} MB resident")


def measure_api(server, count):
    server.submit(count, CAPTURE)
    paths = ["/api/v1/topologies", "/api/v1/topologies/t0", "/api/v1/topologies/t0/logs"]
    for path in paths:
        times = []
        for _ in range(REQUESTS):
            began = time.perf_counter()
            server.ask("GET", path)
            times.append((time.perf_counter() - began) * 1e3)
        times.sort()
        p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
        print(f"{path} with {count} topologies: p50 {p50:.2f} ms, p99 {p99:.2f} ms")


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("binary")
    arguments.add_argument("--api", type=int, default=0, metavar="N")
    arguments.add_argument("--idle", type=int, default=0, metavar="N")
    arguments.add_argument("--seconds", type=float, default=60)
    options = arguments.parse_args()
    print(f"load of the machine before: {os.getloadavg()[0]:.1f}")
    for count, measure in ((options.api, measure_api), (options.idle, measure_idle)):
        if count:
            more = (options.seconds,) if measure is measure_idle else ()
            with tempfile.TemporaryDirectory() as root, Server(options.binary, root) as server:
                measure(server, count, *more)


main()
