"""On Pathway, in static mode and without persistence:
with_pathway.py wordcount|capture INPUT OUT WORKERS POSTS_A_FILE"""

import json
import os
import sys
import time

task, source, out, workers, posts_in_file = sys.argv[1:]
os.environ["PATHWAY_THREADS"] = workers

import pathway as pw  # noqa: E402  (it reads PATHWAY_THREADS)

from lake import Lake  # noqa: E402


class Post(pw.Schema):
    text: str


counts, lake = {}, Lake(out, int(posts_in_file))


def counted(key, row, time, is_addition):
    if is_addition:
        counts[row["word"]] = row["count"]


def captured(key, row, time, is_addition):
    json.loads(row["data"])
    lake.add(row["data"])


if task == "wordcount":
    posts = pw.io.jsonlines.read(
        source, schema=Post, mode="static", json_field_paths={"text": "/tweet/text"}
    )
    words = posts.select(word=pw.apply_with_type(str.split, list[str], pw.this.text)).flatten(
        pw.this.word
    )
    table = words.groupby(pw.this.word).reduce(pw.this.word, count=pw.reducers.count())
    pw.io.subscribe(table, on_change=counted)
else:
    lines = pw.io.plaintext.read(source, mode="static")
    pw.io.subscribe(lines, on_change=captured, on_end=lake.close)

begun = time.monotonic()
pw.run(monitoring_level=pw.MonitoringLevel.NONE)
seconds = time.monotonic() - begun
if task == "wordcount":
    with open(f"{out}/counts.json", "w") as file:
        json.dump(counts, file)
print(json.dumps({"seconds": seconds}))
