"""A bolt that plays the protocol by a seed: player.py SEED. It answers late, in any order, and in
any form that the protocol allows, and fails some tuples once or twice. It emits some to a task
of its choice, on the stream `told`, and these without their texts."""

import json
import os
import random
import sys

sys.dont_write_bytecode = True

from multilang import read_message  # noqa: E402

dice = random.Random(int(sys.argv[1]))
out = sys.stdout.buffer
waits_for_tasks = 0


def send(message):
    form = dice.randrange(4)
    if form == 0:
        text = json.dumps(message)
    elif form == 1:
        text = json.dumps(message, indent=dice.randrange(3), ensure_ascii=False)
    elif form == 2:
        text = json.dumps(dict(reversed(list(message.items()))), separators=(",", ":"))
    else:
        text = "  " + json.dumps(message) + " "
    end = "\r\nend\r\n" if dice.randrange(10) == 0 else "\nend\n"
    raw = (text + end).encode()
    cut = dice.randrange(len(raw))
    out.write(raw[:cut])
    if dice.randrange(4) == 0:
        out.flush()
    out.write(raw[cut:])
    if dice.randrange(3) == 0:
        out.flush()


failed = {}
held = []


def answer(tup):
    global waits_for_tasks
    key = tup["tuple"][0]
    if dice.randrange(20) == 0 and failed.get(key, 0) < 2:
        failed[key] = failed.get(key, 0) + 1
        send({"command": "fail", "id": tup["id"]})
        return
    emit = {"command": "emit", "tuple": [key, "é\u2028\U0001f600", None, [1.5, {"a": "end\n"}]]}
    anchors = dice.randrange(3)
    if anchors == 0:
        emit["anchors"] = [tup["id"]] + [other["id"] for other in held[:2]]
    elif anchors == 1:
        emit["anchors"] = tup["id"]
    if dice.randrange(3) > 0:
        emit["need_task_ids"] = False
    else:
        waits_for_tasks += 1
    if emit.get("need_task_ids") is False and dice.randrange(4) == 0:
        emit |= {"stream": "told", "task": dice.choice(direct), "tuple": [key]}
    elif dice.randrange(2) == 0:
        emit["stream"] = "default"
    send(emit)
    send({"command": "ack", "id": tup["id"]})


handshake = read_message()
assert handshake["context"]["componentid"] == "child", handshake
assert handshake["context"]["source->stream->fields"] == {"id": {"default": ["id"]}}, handshake
tasks = handshake["context"]["task->component"]
direct = [int(task) for task, component in tasks.items() if component == "direct"]
assert len(direct) == 2, tasks
assert handshake["conf"]["topology.name"] == "shell", handshake["conf"]
assert handshake["conf"]["my.option"] == {"a": [1, None]}, handshake["conf"]
open(os.path.join(handshake["pidDir"], str(os.getpid())), "w").close()
if dice.randrange(2):
    send({"pid": os.getpid()})
while True:
    message = read_message()
    if isinstance(message, list):
        assert [tasks[str(task)] for task in message] == ["out"], message
        waits_for_tasks -= 1
        assert waits_for_tasks >= 0
        continue
    if message["stream"] == "__heartbeat":
        send({"command": "sync"})
    elif message["stream"] == "__tick":
        send({"command": "ack", "id": message["id"]})
        dice.shuffle(held)
        while held:
            answer(held.pop())
        out.flush()
        continue
    else:
        held.append(message)
    event = dice.randrange(12)
    if event == 0:
        send({"command": "log", "msg": "hello", "level": dice.randrange(5)})
    elif event == 1:
        send({"command": "error", "msg": "nothing serious"})
    elif event == 2:
        send({"command": "metrics", "name": "n", "params": dice.choice([1, {"a": 2}, None])})
    elif event == 3:
        send({"command": "sync"})
    elif event == 4:
        dice.shuffle(held)
    while held and dice.randrange(3) > 0:
        answer(held.pop(dice.randrange(len(held))))
