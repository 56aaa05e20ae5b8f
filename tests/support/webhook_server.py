"""An endpoint of webhooks for tests: Flask, on the server of Werkzeug. It logs each request in a
file, one line of JSON each, and verifies the request's signature by Python's own `hmac`.

    webhook_server.py LOG SECRET

A body is an object with a number `n`, which decides the answer; PLAN in the environment is an
object of rules, each with a divisor and a remainder of `n`:

    {"422": [10, 3], "503": [7, 1], "429": [13, 5]}

A tuple that matches a rule of 400, 413, 422 or 555 is refused each time; a tuple of another rule the first
time only. 429 and 503 come with `Retry-After`, in seconds for an even `n`, else as a date.
"""

import hashlib
import hmac
import json
import os
import sys
import threading
import time
from email.utils import formatdate

from flask import Flask, Response, request
from werkzeug.serving import WSGIRequestHandler, make_server

log = open(sys.argv[1], "a", buffering=1)
secret = sys.argv[2].encode()
plan = json.loads(os.environ.get("PLAN", "{}"))
app = Flask(__name__)
lock = threading.Lock()
failed = set()


def is_signed(body):
    header = dict(part.split("=", 1) for part in request.headers["Waterspout-Signature"].split(","))
    signed = header["t"].encode() + b"." + body
    expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(header["v1"], expected) and abs(time.time() - int(header["t"])) < 300


def status_of(n):
    for status, (divisor, remainder) in plan.items():
        if n % divisor != remainder:
            continue
        if status in ("400", "413", "422", "555"):
            return int(status)
        if (status, n) not in failed:
            failed.add((status, n))
            return int(status)
    return 200


@app.route("/hook/<path>", methods=["POST", "PUT", "PATCH"])
def hook(path):
    body = request.get_data()
    n = json.loads(body)["n"]
    with lock:
        status = status_of(n)
        line = {
            "n": n,
            "status": status,
            "key": request.headers["Idempotency-Key"],
            "signed": is_signed(body),
            "method": request.method,
            "path": request.full_path,
            "type": request.headers["Content-Type"],
            "authorization": request.headers.get("Authorization"),
            "at": time.monotonic(),
        }
        log.write(json.dumps(line) + "\n")
    answer = Response(f"{status} for {n} at {path}", status)
    if status in (429, 503):
        answer.headers["Retry-After"] = "1" if n % 2 == 0 else formatdate(time.time() + 1, usegmt=True)
    return answer


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *_):
        pass


server = make_server("127.0.0.1", int(os.environ.get("PORT", "0")), app, threaded=True, request_handler=Quiet)
print(server.port, flush=True)
server.serve_forever()
