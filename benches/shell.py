#!/usr/bin/env python3
"""Echo bolts as children of `Shell` and of Storm: benches/shell.py [WATERSPOUT] [TUPLES]

Measures the tuples per second of three children: one in Rust (examples/echo_child.rs, which rustc
builds here), one in Python without a library, and one on pystorm, if `PYTHON` names a Python that
has it. Each child runs

- alone: fed from a file, and read by `cat`;
- in a topology of Waterspout;
- on Storm, acked, in a LocalCluster: with its usual `topology.shellbolt.max.pending` of 100, and
  with 1,000. Storm is fetched by benches/peers/fetch.py if there is a JDK. `STORM=0` leaves it out.

The ways take turns, and the figures are medians of `ROUNDS` rounds (5). All of them are without
start and end: of the time for all tuples, the time for a single tuple is taken off. Storm's rate is
that of the last three quarters of its tuples. Build with --release first."""

import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROGRAM = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/waterspout")
TUPLES = int(sys.argv[2]) if len(sys.argv) > 2 else 400_000
PYTHON = os.environ.get("PYTHON", sys.executable)
ROUNDS = int(os.environ.get("ROUNDS", "5"))
sys.path.insert(0, str(ROOT / "benches/peers"))

import fetch  # noqa: E402

PLAIN = """
import json, os, sys
read, out, lines, first = sys.stdin.readline, sys.stdout, [], True
while True:
    line = read()
    if not line:
        break
    if line != "end\\n":
        lines.append(line)
        continue
    message = json.loads("".join(lines))
    lines = []
    if first:
        first = False
        out.write('{"pid": %d}\\nend\\n' % os.getpid())
    elif message["stream"] == "__heartbeat":
        out.write('{"command": "sync"}\\nend\\n')
    else:
        emit = {"command": "emit", "anchors": [message["id"]], "need_task_ids": False}
        tup = json.dumps(emit | {"tuple": message["tuple"]})
        out.write(tup + '\\nend\\n{"command": "ack", "id": "%s"}\\nend\\n' % message["id"])
    out.flush()
"""
PYSTORM = """
from pystorm import Bolt
class Echo(Bolt):
    def process(self, tup):
        self.emit([tup.values[0]])
Echo().run()
"""


def alone(command, folder, tuples):
    """Returns the seconds of the child from a file into a sink, as fast as it can."""
    task = {"taskid": 1, "componentid": "echo", "task->component": {"1": "echo"}}
    text = '{"comp":"id","stream":"default","task":2,"tuple":[%d],"id":"%d"}\nend\n'
    messages = pathlib.Path(folder, f"messages-{tuples}")
    if not messages.exists():
        handshake = json.dumps({"pidDir": folder, "conf": {}, "context": task}) + "\nend\n"
        messages.write_text(handshake + "".join(text % (n, n) for n in range(tuples)))
    with messages.open("rb") as source:
        begun = time.monotonic()
        child = subprocess.Popen(command, stdin=source, stdout=subprocess.PIPE)
        sink = subprocess.Popen(["cat"], stdin=child.stdout, stdout=subprocess.DEVNULL)
        child.stdout.close()
        # Some children take the end of their input for an error.
        child.wait()
        assert sink.wait() == 0
    return time.monotonic() - begun


def inside(command, folder, tuples):
    """Returns the seconds of a topology with the child."""
    lines = "".join('{"n":{"id":%d}}\n' % number for number in range(tuples))
    pathlib.Path(folder, "in.ndjson").write_text(lines)
    words = ", ".join(json.dumps(word) for word in command)
    pathlib.Path(folder, "echo.ron").write_text(f"""Topology(name: "echo", spouts: {{
            "in": Spout(run: Lines(paths: ["{folder}/in.ndjson"])),
        }}, bolts: {{
            "id": Bolt(run: Pick(fields: {{"id": "/n/id"}}), inputs: [LocalOrShuffle("in")]),
            "echo": Bolt(run: Shell(command: [{words}], fields: ["id"]), inputs: [Shuffle("id")]),
            "out": Bolt(run: Null(), inputs: [Shuffle("echo")]),
        }})""")
    command = [PROGRAM, "run", f"{folder}/echo.ron", "--state", f"{folder}/state", "--fresh"]
    begun = time.monotonic()
    ended = subprocess.run(command, stderr=subprocess.PIPE, check=True)
    took = time.monotonic() - begun
    last = json.loads(ended.stderr.splitlines()[-1])
    received = [part["received"] for part in last["components"] if part["id"] == "out"]
    assert received == [tuples], received
    return took


def steady(way):
    """Returns a function that gives the rate of a way without its start and end."""

    def rate(command, folder, tuples):
        whole, single = way(command, folder, tuples), way(command, folder, 1)
        return (tuples - 1) / (whole - single)

    return rate


def on_storm(pending):
    """Returns a function that gives the rate on Storm with this number of tuples in the pipe."""

    def run(command, folder, tuples):
        command = fetch.storm_command("echo", str(tuples), str(pending), *command)
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        seconds = json.loads(ended.stdout.strip().splitlines()[-1])["seconds"]
        return (tuples - tuples // 4) / seconds

    return run


ways = {"alone": steady(alone), "in a topology": steady(inside)}
try:
    if os.environ.get("STORM") == "0":
        raise fetch.Missing("STORM=0 says so")
    fetch.storm()
    ways |= {"Storm": on_storm(100), "Storm, 1,000": on_storm(1_000)}
except fetch.Missing as why:
    print(f"Storm isn't measured: {why}", file=sys.stderr)
with tempfile.TemporaryDirectory() as folder:
    echo = f"{folder}/echo_child"
    source = str(ROOT / "examples/echo_child.rs")
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", echo, source], check=True)
    children = {"Rust": ([echo], TUPLES)}
    for name, text in [("plain Python", PLAIN), ("pystorm", PYSTORM)]:
        path = pathlib.Path(folder, name.split()[-1] + "_echo.py")
        path.write_text(text)
        children[name] = ([PYTHON, str(path)], TUPLES // 4)
    print(
        f"{'child':14}"
        + "".join(f"{way:>15}" for way in ways)
        + "   tuples/s; topology to alone, to Storm's better"
    )
    for name, (command, tuples) in children.items():
        if (
            name == "pystorm"
            and subprocess.run(
                [PYTHON, "-c", "import pystorm"], stderr=subprocess.DEVNULL
            ).returncode
        ):
            print(f"{name:14} isn't there for {PYTHON}")
            continue
        runs = [[run(command, folder, tuples) for run in ways.values()] for _ in range(ROUNDS)]
        rates = [statistics.median(of_way) for of_way in zip(*runs)]
        ratios = f"{rates[1] / rates[0]:.0%}"
        if len(rates) > 2:
            ratios += f", {rates[1] / max(rates[2:]):.2f} times"
        print(
            f"{name:14}" + "".join(f"{rate:15,.0f}" for rate in rates) + f"   {ratios}", flush=True
        )
