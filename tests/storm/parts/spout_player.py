"""A spout that plays the protocol by a seed: spout_player.py SEED COUNT [BREAK MARKER]. It emits
the numbers below COUNT, in any form that the protocol allows, notes in the file `acked` when all
that had an id are acknowledged, and asserts that each answer is one it may get. With BREAK it
does that illegal thing once, and starts from 0 in its next life."""

import json
import os
import random
import signal
import sys

sys.dont_write_bytecode = True

from multilang import read_message  # noqa: E402

SEED, COUNT = int(sys.argv[1]), int(sys.argv[2])
dice = random.Random(SEED)
out = sys.stdout.buffer


def write(raw):
    cut = dice.randrange(len(raw))
    out.write(raw[:cut])
    if dice.randrange(4) == 0:
        out.flush()
    out.write(raw[cut:])


def send(message):
    text = json.dumps(
        message, indent=dice.choice([None, None, 1]), ensure_ascii=dice.randrange(2) == 0
    )
    write((text + dice.choice(["\nend\n", "\nend\n", "\r\nend\r\n"])).encode())


def receive():
    out.flush()
    return read_message()


def raw(data):
    out.write(data)
    out.flush()
    signal.pause()


BREAKS = [
    lambda: raw(b"Traceback (most recent call last):\n"),
    lambda: raw(b'{"command": "emit", "tuple": [1, 2]}\nend\n'),
    lambda: raw(b'{"command": "emit", "stream": "nonesuch", "tuple": [1]}\nend\n'),
    lambda: raw(b'{"command": "emit", "task": 77, "tuple": [1]}\nend\n'),
    lambda: raw(b'{"command": "emit"}\nend\n'),
    lambda: raw(b'{"command": "ack", "id": "1"}\nend\n'),
    lambda: raw(b'{"command": "dance"}\nend\n'),
    lambda: raw(b'{"command": "emit", "tuple": ["\xff"]}\nend\n'),
    lambda: os._exit(3),
    lambda: os.kill(os.getpid(), signal.SIGKILL),
    lambda: os.kill(os.getpid(), signal.SIGSTOP),
]
breaks_at = None
if len(sys.argv) > 3 and not os.path.exists(sys.argv[4]):
    breaks_at = dice.randrange(1, COUNT)

handshake = receive()
tasks = handshake["context"]["task->component"]
direct = [int(task) for task, component in tasks.items() if component == "direct"]
open(os.path.join(handshake["pidDir"], str(os.getpid())), "w").close()
if dice.randrange(2):
    send({"pid": os.getpid()})
number = 0
waits = {}


def emit():
    global number
    message = {"command": "emit", "tuple": [number]}
    way = dice.randrange(4)
    if way == 0:
        message |= {"stream": "told", "task": dice.choice(direct)}
    elif way == 1:
        message["stream"] = "default"
    if dice.randrange(5) > 0:
        tuple_id = dice.choice([number, "n%d" % number])
        message["id"] = tuple_id
        waits[json.dumps(tuple_id)] = number
    is_told = way != 0 and dice.randrange(2) == 0
    if not is_told:
        message["need_task_ids"] = False
    send(message)
    number += 1
    if is_told:
        told = receive()
        assert isinstance(told, list) and [tasks[str(task)] for task in told] == ["out"], told


while True:
    asked = receive()
    command = asked["command"]
    if command in ("ack", "fail"):
        key = json.dumps(asked["id"])
        assert key in waits, f"{command} of {key}, which waits for nothing"
        assert command == "ack", f"{key} was failed, and nothing was lost"
        del waits[key]
    elif command == "next":
        for _ in range(dice.randrange(6)):
            if number == breaks_at:
                open(sys.argv[4], "w").close()
                out.flush()
                BREAKS[int(sys.argv[3])]()
            if number < COUNT:
                emit()
    else:
        assert command in ("activate", "deactivate"), asked
    chance = dice.randrange(10)
    if chance == 0:
        send({"command": "log", "msg": "hello é", "level": dice.randrange(5)})
    elif chance == 1:
        send({"command": "error", "msg": "nothing serious"})
    elif chance == 2:
        send({"command": "metrics", "name": "n", "params": 1})
    send({"command": "sync"})
    if number == COUNT and not waits:
        open("acked", "w").close()
