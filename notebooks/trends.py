"""What the notebook on trends needs beside the warehouse: runs of the program, and posts with planted
bursts."""

import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd

from warehouse import WarehouseError

# The columns of the table `trends`, which are the fields of what Trends emits.
FIELDS = ["key_type", "key", "bucket_start", "started_at", "peak_at", "count", "baseline", "score",
          "p_value", "authors", "sample_posts", "why"]
TIMES = ["bucket_start", "started_at", "peak_at"]

# The trends of topologies/warehouse.ron, printed.
REPLAY = """
Topology(
    name: "replay",
    spouts: {"posts": Spout(run: Generate(posts: 1))},
    bolts: {
        "features": Bolt(run: Features(), inputs: [LocalOrShuffle("posts")]),
        "trends": Bolt(
            run: Trends(key_types: ["hashtag"]),
            inputs: [Fields("features:keys", ["key_type", "key"]), All("posts")],
            parallelism_hint: 3,
        ),
        "print": Bolt(run: Stdout(), inputs: [Global("trends")]),
    },
)
"""

# Posts that several sources, or one that hurries, have written one behind the other may be further out
# of the order of their times than Trends waits.
ORDER = ["--order", "time"]

# The planted posts have the fields of a key beside each other.
THRESHOLDS = """
Topology(
    name: "thresholds",
    spouts: {{"posts": Spout(run: Lines(paths: ["posts.ndjson"]))}},
    bolts: {{
        "keys": Bolt(
            run: Pick(fields: {{"key_type": "/tweet/key_type", "key": "/tweet/key",
                               "post_id": "/tweet/id_str", "author_id": "/tweet/author"}}),
            inputs: [LocalOrShuffle("posts")],
        ),
        {bolts}
        "print": Bolt(run: Stdout(), inputs: [{prints}]),
    }},
)
"""
THRESHOLD = """
        "trends{number}": Bolt(
            run: Trends({options}),
            inputs: [Fields("keys", ["key_type", "key"]), All("posts")],
        ),
        "rows{number}": Bolt(
            run: Jq(filter: "[{number}, .key, .bucket_start, .started_at]",
                    fields: ["number", "key", "bucket_start", "started_at"]),
            inputs: [LocalOrShuffle("trends{number}")],
        ),
"""


def program():
    """The program waterspout; None if it isn't known where it is."""
    return os.environ.get("WATERSPOUT") or shutil.which("waterspout")


def run(folder, topology, *arguments):
    """What a topology prints, as rows."""
    (folder / "topology.ron").write_text(topology, encoding="utf-8")
    command = [program(), "run", "topology.ron", "--state", "state", *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if ended.returncode:
        raise WarehouseError(f"waterspout run failed: {ended.stderr.strip().splitlines()[-1:]}")
    return pd.DataFrame([json.loads(line) for line in ended.stdout.splitlines()])


def replayed(lake):
    """The trends of a replay of a lake."""
    lake = lake if "://" in lake else str(Path(lake).absolute())
    with tempfile.TemporaryDirectory(prefix="waterspout-") as folder:
        return times_of(run(Path(folder), REPLAY, *ORDER, "--replay", lake).reindex(columns=FIELDS))


def times_of(rows):
    """Rows whose times are times."""
    return rows.assign(**{name: pd.to_datetime(rows[name], utc=True) for name in TIMES})


def compared(table, replay):
    """What `waterspout trends diff` says of two tables of trends: a row for each trend."""
    with tempfile.TemporaryDirectory(prefix="waterspout-") as folder:
        for name, rows in (("table", table), ("replay", replay)):
            write(Path(folder) / name, rows)
        command = [program(), "trends", "diff", "--json", "table", "replay"]
        ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if ended.returncode not in (0, 1):
            raise WarehouseError(f"waterspout trends diff failed: {ended.stderr.strip()}")
        return pd.DataFrame([json.loads(line) for line in ended.stdout.splitlines()])


def write(path, rows):
    """Writes trends as Stdout prints them."""
    rows = rows.copy()
    for name in TIMES:
        rows[name] = rows[name].dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    records = rows[FIELDS].to_dict("records")
    path.write_text("".join(json.dumps(row) + "\n" for row in records), encoding="utf-8")


def bucket_of(trends):
    """The length of a bucket: the shortest time between two of a key's; a minute if there is one
    only."""
    apart = trends.sort_values("bucket_start").groupby(["key_type", "key"])["bucket_start"].diff()
    apart = apart[apart > timedelta(0)]
    return apart.min().to_pytimedelta() if len(apart) else timedelta(minutes=1)


@dataclass
class Planted:
    """A burst: a hashtag that comes `times` as often as before."""

    key: str
    start: datetime
    end: datetime
    times: int


BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
# Hashtags by Zipf's law, from 30 posts a minute downwards.
KEYS = 30
MOST_A_MINUTE = 30
# Bursts hit hashtags that come 5 to 10 times a minute.
BURSTS_HIT = range(2, 6)
BURST_MINUTES = 6


def plant(minutes, times, seed):
    """Posts of so many minutes, and the bursts in them, each so many times what is usual."""
    chance = np.random.default_rng(seed)
    bursts = []
    for number, minute in enumerate(range(40, minutes - 2 * BURST_MINUTES, 12)):
        start = BEGIN + minute * MINUTE + timedelta(seconds=int(chance.integers(60)))
        key = f"#tag{list(BURSTS_HIT)[number % len(BURSTS_HIT)]}"
        bursts.append(Planted(key, start, start + BURST_MINUTES * MINUTE, times))
    posts = []
    for rank in range(KEYS):
        key, mean = f"#tag{rank}", MOST_A_MINUTE / (rank + 1)
        spans = [(BEGIN, BEGIN + minutes * MINUTE, mean)]
        spans += [(b.start, b.end, mean * (b.times - 1)) for b in bursts if b.key == key]
        for start, end, a_minute in spans:
            count = chance.poisson(a_minute * ((end - start) / MINUTE))
            posts += [(start + (end - start) * float(at), key) for at in chance.random(count)]
    return sorted(posts), bursts


def found(posts, options):
    """For each of these options of Trends the trends that it finds among the posts, as hashtag,
    beginning and end of its buckets."""
    with tempfile.TemporaryDirectory(prefix="waterspout-") as name:
        folder = Path(name)
        with open(folder / "posts.ndjson", "w", encoding="utf-8") as file:
            for number, (at, key) in enumerate(posts):
                post = {"id_str": str(number), "created_at": at.isoformat(), "key_type": "hashtag",
                        "key": key, "author": f"a{number % 997}"}
                file.write(json.dumps({"tweet": post}) + "\n")
        numbers = range(len(options))
        bolts = [THRESHOLD.format(number=n, options=options[n]) for n in numbers]
        prints = [f'Global("rows{n}")' for n in numbers]
        topology = THRESHOLDS.format(bolts="".join(bolts), prints=", ".join(prints))
        rows = run(folder, topology)
    if rows.empty:
        return [rows] * len(options)
    rows = rows.assign(**{time: pd.to_datetime(rows[time], utc=True) for time in TIMES[:2]})
    whole = rows.groupby(["number", "key", "started_at"])["bucket_start"].agg(["min", "max"])
    whole = whole.reset_index()
    return [whole[whole["number"] == number] for number in numbers]


def judged(trends, bursts):
    """Precision, recall, and the seconds from the beginning of a burst to the end of the bucket by
    which it was found."""
    delays, right = [], set()
    for burst in bursts:
        of_key = trends[trends["key"] == burst.key] if len(trends) else trends
        for trend in of_key.itertuples() if len(of_key) else ():
            # The bucket in which it begins, or any later one of it.
            if burst.start - MINUTE < trend.min < burst.end and trend.Index not in right:
                right.add(trend.Index)
                delays.append((trend.min + MINUTE - burst.start).total_seconds())
                break
    return {"precision": len(right) / len(trends) if len(trends) else 1.0,
            "recall": len(delays) / len(bursts), "found": len(delays),
            "false": len(trends) - len(right),
            "delay": float(np.median(delays)) if delays else np.nan}
