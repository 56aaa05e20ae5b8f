"""Sets up what the notebooks need, fills a warehouse, and executes them: notebooks/run."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))
# Nothing is written into the tree.
sys.dont_write_bytecode = True
os.environ["PYTHONDONTWRITEBYTECODE"] = "1"

from running import environment  # noqa: E402
from running.failure import Failure, note  # noqa: E402

PYTHON_MIN = (3, 11)

DESCRIPTION = """\
Fills a warehouse and executes the notebooks over it, to HTML. The first run installs what it needs
from PyPI into a virtual environment of its own; later runs reuse it. The warehouse is a private
PostgreSQL in a folder, unless DATABASE_URL is set. It gets posts of the generator, or the posts of
LAKE, and keeps them for the next run."""

EPILOG = """\
environment variables:
  DATABASE_URL    use this PostgreSQL server and database. Made-up posts aren't mixed with others:
                  where the database already has posts, the notebooks show those
  WATERSPOUT      use this program instead of building one by cargo build --release
  XDG_CACHE_HOME  where the virtual environment is kept, and the default folder [~/.cache]

As root, the private server runs as the user embedded_postgres, which is made if it isn't there; the
folders above the server's are opened for passing through (chmod o+x).

The paths of the pages are printed on standard output. Exit code 0: all are there. 1: something
failed, which is said on standard error. 2: wrong arguments. 130, 143: a signal."""


def arguments():
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(
        prog="notebooks/run", description=DESCRIPTION, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lake", nargs="?", metavar="LAKE", help=(
        "a lake to load instead of the generator's posts: a folder, a glob of its partitions "
        "('lake/2015-12-18T*'), or s3://bucket/prefix"))
    parser.add_argument("--open", action="store_true", help=(
        "start Jupyter instead of making HTML; Ctrl-C stops it, and the server"))
    parser.add_argument("--folder", type=Path, metavar="DIR", help=(
        "where the server, its data and the pages are kept [a folder in the cache]"))
    parser.add_argument("--posts", type=int, metavar="N", help=(
        "how many posts the generator makes [as topologies/warehouse.ron says]"))
    parser.add_argument("--schema", default="waterspout", metavar="NAME", help=(
        "the schema of the warehouse [waterspout]"))
    parser.add_argument("--from", dest="since", metavar="TIME", help=(
        "show posts from this time on, such as 2015-12-18T12:00:00Z"))
    parser.add_argument("--to", dest="until", metavar="TIME", help="show posts up to this time")
    parser.add_argument("--no-load", action="store_true", help=(
        "load nothing: show what the warehouse has"))
    parser.add_argument("--install", action="store_true", help=(
        "only install what is needed, and end"))
    arguments = parser.parse_args()
    if arguments.posts is not None and arguments.posts < 1:
        parser.error(f"--posts: expected a number from 1 on, found {arguments.posts}")
    if arguments.posts is not None and arguments.lake:
        parser.error("--posts is for the generator: it can't be used with a lake")
    return arguments


def program():
    """The program waterspout, which is built if need be."""
    given = os.environ.get("WATERSPOUT")
    if given:
        found = shutil.which(given)
        if not found:
            raise Failure(f'WATERSPOUT: "{given}" isn\'t a program')
        return Path(found).resolve()
    if not shutil.which("cargo"):
        raise Failure('"cargo" is missing: install Rust from https://rustup.rs, or set WATERSPOUT '
                      "to the program waterspout")
    note("building waterspout (cargo build --release)")
    manifest = ["--manifest-path", str(ROOT / "Cargo.toml")]
    build = ["cargo", "build", "--release", "--locked", "--quiet", "--bin", "waterspout", *manifest]
    if subprocess.run(build).returncode:
        raise Failure("waterspout can't be built (see above)")
    return environment.cargo_target(manifest) / "release" / "waterspout"


def main():
    """Runs everything; returns the exit code."""
    given = arguments()
    if sys.version_info < PYTHON_MIN:
        found = ".".join(map(str, sys.version_info[:3]))
        raise Failure(f"Python {found} is too old: 3.11 or later is needed")
    needs_program = not (given.no_load or given.install)
    if not environment.is_inside():
        waterspout = program() if needs_program else None
        python = environment.install(HERE, with_jupyter=given.open)
        if given.install:
            return 0
        if waterspout:
            os.environ["WATERSPOUT"] = str(waterspout)
        # The rest needs the packages, so it runs by the virtual environment's Python.
        os.execv(python, [str(python), str(HERE / "run.py"), *sys.argv[1:]])
    from running import session
    return session.run(given, os.environ.get("WATERSPOUT"), HERE)


def stop(number, _frame):
    """Ends by a signal, through all that has to be stopped on the way."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        sys.exit(main())
    except Failure as failure:
        note(str(failure))
        sys.exit(1)
