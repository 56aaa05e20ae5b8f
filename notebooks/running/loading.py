"""Loads posts into the warehouse by topologies/warehouse.ron."""

import json
import signal
import subprocess
import sys

from . import server
from .failure import Failure, note

# The exit codes of `waterspout run` after which there is something to show.
DONE, DEAD_LETTERS, UNDELIVERED, NOTHING_NEW = 0, 4, 5, 6


def may_load(given, work, url, is_private):
    """True unless made-up posts would get among somebody's own."""
    if is_private or given.lake or (work / "state").exists():
        return True
    posts = server.posts_in(url, given.schema)
    if posts:
        note(f"the warehouse has {posts:,} posts already, so none are made up; the notebooks show "
             "what is there")
    return not posts


def load(given, run, work, url):
    """Runs the topology until its posts are in the warehouse."""
    command = [*run, "--state", str(work / "state")]
    if given.lake:
        command += ["--replay", given.lake, "--only", "warehouse"]
    else:
        command += ["--set", f"bolts.lake.run.root={json.dumps(str(work / 'lake'))}"]
    if given.posts is not None:
        command += ["--set", f"spouts.posts.run.posts={given.posts}"]
    if given.schema != "waterspout":
        command += ["--set", f"bolts.warehouse.run.schema={given.schema}"]
    if not sys.stderr.isatty():
        command += ["--interval", "10s"]
    posts = server.posts_in(url, given.schema)
    # If a database was emptied, the state of what went into it is worth nothing.
    is_stale = posts == 0 and (work / "state").exists()
    code = child(command + ["--fresh"] * is_stale)
    while code == UNDELIVERED:
        # The server was slower than the sources. The same command delivers the rest.
        before, posts = posts, server.posts_in(url, given.schema)
        if posts <= before:
            raise Failure("the server takes no posts (see above): run the same command again")
        note(f"{posts:,} posts are in the warehouse; the rest follows")
        code = child(command)
    if code == DEAD_LETTERS:
        note("some posts were refused (see above); the notebooks show the others")
    elif code not in (DONE, NOTHING_NEW):
        raise Failure(f"waterspout run failed with exit code {code} (see above)")


def child(command):
    """Runs a program to its end; a signal to this process is passed on, and its end awaited."""
    # In a session of its own, a terminal's Ctrl-C reaches the program once: by this process.
    process = subprocess.Popen(command, start_new_session=True)
    try:
        return process.wait()
    except SystemExit:
        process.send_signal(signal.SIGTERM)
        wait_for_end(process)
        raise


def wait_for_end(process):
    """Waits for a program that was told to end; each further signal is passed on as well."""
    while process.poll() is None:
        try:
            process.wait()
        except SystemExit:
            process.send_signal(signal.SIGTERM)
