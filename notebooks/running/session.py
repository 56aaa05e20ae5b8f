"""One run: a server, posts in it, and the notebooks over them."""

import contextlib
import hashlib
import os
import sys
from pathlib import Path

import psycopg

from . import environment, loading, pages, server
from .failure import Failure, note


def run(given, waterspout, here):
    """Fills a warehouse, and executes the notebooks or opens Jupyter; returns the exit code."""
    folder = (given.folder or environment.cache() / "warehouse").resolve()
    topology = here.parent / "topologies" / "warehouse.ron"
    url = os.environ.get("DATABASE_URL")
    is_private = not url
    with contextlib.ExitStack() as stack:
        stack.enter_context(server.only_user_of(folder))
        source = source_name(given.lake)
        if is_private:
            address = stack.enter_context(server.private(folder / "postgres"))
            server.make_database(address, source)
            url = address(source)
            note(f"PostgreSQL {server.version(url)} in {folder}, database {source}")
        else:
            # What was loaded into one database says nothing of another.
            source = f"{source}-{hashed(identity(url), given.schema)}"
            note(f"PostgreSQL {server.version(url)} of DATABASE_URL")
        os.environ["DATABASE_URL"] = url
        os.environ["WATERSPOUT_SCHEMA"] = given.schema
        for name, time in (("WATERSPOUT_FROM", given.since), ("WATERSPOUT_TO", given.until)):
            if time:
                os.environ[name] = time
        work = folder / source
        work.mkdir(exist_ok=True)
        if not given.no_load and loading.may_load(given, work, url, is_private):
            loading.load(given, [waterspout, "run", str(topology)], work, url)
        lake = given.lake or (work / "lake" if (work / "lake").exists() else None)
        if lake:
            os.environ["WATERSPOUT_LAKE"] = str(lake)
        if given.open:
            return open_jupyter(here)
        return pages.make(here, work / "html")


def source_name(lake):
    """The name of what is loaded, which is that of its database too."""
    if not lake:
        return "generator"
    absolute = lake if "://" in lake else str(Path(lake).absolute())
    return f"lake_{hashed(absolute)}"


def hashed(*texts):
    """A short name for texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:8]


def identity(url):
    """Which server and database an address means, without the password."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError as error:
        raise Failure(f"DATABASE_URL: {str(error).strip()}") from None
    return " ".join(str(parts.get(name, "")) for name in ("host", "hostaddr", "port", "dbname"))


def open_jupyter(here):
    """Starts Jupyter until it is stopped."""
    note("starting Jupyter: Ctrl-C stops it, and the server")
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={here}",
               "--ServerApp.answer_yes=True", "--LabApp.news_url=None",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    if os.geteuid() == 0:
        command.append("--allow-root")
    return loading.child(command)
