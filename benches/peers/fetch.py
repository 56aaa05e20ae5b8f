"""Fetches and builds the peers, pinned, into ${XDG_CACHE_HOME:-~/.cache}/waterspout, unless they are
there."""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = pathlib.Path(
    os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache", "waterspout"
)


class Missing(Exception):
    """A tool that a peer needs isn't on this machine."""


def folder(name, *pins):
    """The folder of a peer, named after the contents of the files that pin it."""
    sums = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins)).hexdigest()
    return CACHE / f"{name}-{sums[:16]}"


def run(*command, **options):
    subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr, **options)


def need(program, package):
    if not shutil.which(program):
        raise Missing(f'"{program}" is missing ({package})')


def python():
    """A Python with Bytewax and Pathway, from PyPI."""
    pins = HERE / "requirements.txt"
    path = folder("peers-python", pins)
    if not (path / "complete").exists():
        shutil.rmtree(path, ignore_errors=True)
        run(sys.executable, "-m", "venv", path)
        run(path / "bin/pip", "install", "--quiet", "--requirement", pins)
        (path / "complete").touch()
    return str(path / "bin/python")


def timely():
    """The program on timely, from crates.io."""
    need("cargo", "from rustup")
    pins = [HERE / "timely/Cargo.lock", HERE / "timely/src/main.rs"]
    path = folder("peers-timely", *pins)
    manifest = HERE / "timely/Cargo.toml"
    program = path / "release/timely-peer"
    if not program.exists():
        run(
            "cargo",
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--manifest-path",
            manifest,
            "--target-dir",
            path,
        )
    return str(program)


def storm():
    """The class path of Storm, from Maven Central, and of the topologies in storm/Peer.java."""
    need("javac", "a JDK, 17 or later; Debian's package is default-jdk-headless")
    jars = folder("storm", ROOT / "tests/storm/jars.txt")
    if not (jars / "complete").exists():
        run(sys.executable, ROOT / "tests/storm/fetch", jars)
    source = HERE / "storm/Peer.java"
    classes = folder("peers-storm", ROOT / "tests/storm/jars.txt", source)
    if not (classes / "complete").exists():
        run("javac", "-nowarn", "-cp", f"{jars}/*", "-d", classes, source)
        (classes / "complete").touch()
    return f"{classes}:{jars}/*", str(jars / "flux-core-2.8.3.jar")


def storm_command(*arguments, memory="2g"):
    """The command that runs a topology of storm/Peer.java."""
    classes, jar = storm()
    return ["java", f"-Xmx{memory}", f"-Dstorm.jar={jar}", "-cp", classes, "Peer", *arguments]
