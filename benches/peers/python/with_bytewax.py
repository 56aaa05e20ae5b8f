"""On Bytewax, without a recovery store:
with_bytewax.py wordcount|capture INPUT OUT WORKERS POSTS_A_FILE"""

import json
import sys
import time

import bytewax.operators as op
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import TestingSink, cluster_main, run_main

from lake import Lake

task, source, out, workers, posts_in_file = sys.argv[1:]
flow = Dataflow(task)
lines = op.input("in", flow, FileSource(source))
counts = []


def words(batch):
    return [word for line in batch for word in json.loads(line)["tweet"]["text"].split()]


class Part(StatelessSinkPartition):
    def __init__(self, worker):
        self.lake = Lake(out, int(posts_in_file), worker)

    def write_batch(self, items):
        for line in items:
            json.loads(line)
            self.lake.add(line)

    def close(self):
        self.lake.close()


class LakeSink(DynamicSink):
    def build(self, step_id, worker_index, worker_count):
        return Part(worker_index)


if task == "wordcount":
    split = op.flat_map_batch("words", lines, words)
    op.output("out", op.count_final("count", split, lambda word: word), TestingSink(counts))
else:
    # A file is read by one worker, which hands its lines round.
    op.output("lake", op.redistribute("spread", lines), LakeSink())

begun = time.monotonic()
if workers == "1":
    run_main(flow)
else:
    cluster_main(flow, [], 0, worker_count_per_proc=int(workers))
seconds = time.monotonic() - begun
if task == "wordcount":
    with open(f"{out}/counts.json", "w") as file:
        json.dump(dict(counts), file)
print(json.dumps({"seconds": seconds}))
