"""A bolt that behaves for some tuples, then does something illegal by a seed, and behaves for good
in its next life: breaker.py SEED MARKER."""

import json
import os
import random
import signal
import sys

sys.dont_write_bytecode = True

from multilang import read_message  # noqa: E402

seed, marker = int(sys.argv[1]), sys.argv[2]
dice = random.Random(seed)
out = sys.stdout.buffer
FIRST_LIFE = not os.path.exists(marker)
UNTIL = dice.randrange(0, 300)


def send(message):
    out.write(json.dumps(message).encode() + b"\nend\n")
    out.flush()


def raw(data):
    out.write(data)
    out.flush()
    signal.pause()


def flood():
    while True:
        os.write(2, b"it is raining\n" * 1000)


def garbled(data):
    data = bytearray(data)
    for _ in range(dice.randrange(1, 4)):
        data[dice.randrange(len(data) - 5)] = dice.randrange(256)
    raw(bytes(data) + b"{\nend\n")


GOOD = json.dumps({"command": "emit", "tuple": [1], "need_task_ids": False}).encode() + b"\nend\n"
BREAKS = [
    lambda: raw(b"Traceback (most recent call last):\n"),
    lambda: raw(b'{"command": "emit", "tuple": [1\nend\n'),
    lambda: raw(b'{"command": "emit", "tuple": ["\xff"]}\nend\n'),
    lambda: raw(b'{"command": "emit", "tuple": [1], "stream": "nonesuch"}\nend\n'),
    lambda: raw(b'{"command": "emit", "tuple": [1, 2]}\nend\n'),
    lambda: raw(b'{"command": "emit", "tuple": [1], "task": 77}\nend\n'),
    lambda: raw(b'{"command": "ack", "id": "123456789"}\nend\n'),
    lambda: raw(b'{"command": "ack"}\nend\n'),
    lambda: raw(b'{"command": "dance"}\nend\n'),
    lambda: raw(b"[1, 2]\nend\n"),
    lambda: raw(b"\nend\n"),
    lambda: raw(b'{"command": ' + b"[" * 100000 + b"\nend\n"),
    lambda: garbled(GOOD),
    lambda: os._exit(0),
    lambda: os._exit(3),
    lambda: os.kill(os.getpid(), signal.SIGKILL),
    lambda: (os.close(1), signal.pause()),
    flood,
    lambda: os.kill(os.getpid(), signal.SIGSTOP),
]


read_message()  # The handshake.
send({"pid": os.getpid()})
seen = 0
while True:
    message = read_message()
    if isinstance(message, list):
        continue
    if message["stream"] == "__heartbeat":
        send({"command": "sync"})
        continue
    if FIRST_LIFE and seen == UNTIL:
        open(marker, "w").close()
        BREAKS[seed % len(BREAKS)]()
    seen += 1
    send(
        {
            "command": "emit",
            "tuple": message["tuple"],
            "anchors": [message["id"]],
            "need_task_ids": False,
        }
    )
    send({"command": "ack", "id": message["id"]})
