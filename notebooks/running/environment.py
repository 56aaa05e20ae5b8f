"""The virtual environment with the packages of requirements.txt, each pinned."""

import fcntl
import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .failure import Failure, note


def cache():
    """The folder for what can be made again."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "waterspout"


def is_inside():
    """True if this is the Python of a virtual environment that `install` made."""
    return (Path(sys.prefix) / "complete").exists() and Path(sys.prefix).parent == cache()


def install(here, with_jupyter):
    """Makes the virtual environment if it isn't there; returns its Python."""
    pins = hashlib.sha256((here / "requirements.txt").read_bytes()).hexdigest()[:16]
    folder = cache() / f"notebooks-{pins}"
    cache().mkdir(parents=True, exist_ok=True)
    # Two runs at once don't install into one folder.
    with open(cache() / "notebooks.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        python = folder / "bin" / "python"
        if not (folder / "complete").exists():
            make(folder)
            pip(python, here / "requirements.txt")
            (folder / "complete").touch()
        jupyter = here / "requirements-open.txt"
        pins = hashlib.sha256(jupyter.read_bytes()).hexdigest()[:16]
        if with_jupyter and not (folder / f"complete-{pins}").exists():
            pip(python, jupyter)
            (folder / f"complete-{pins}").touch()
    return python


def make(folder):
    """Makes an empty virtual environment."""
    if importlib.util.find_spec("ensurepip") is None:
        raise Failure("Python's module venv is missing (Debian: apt-get install python3-venv)")
    shutil.rmtree(folder, ignore_errors=True)
    if subprocess.run([sys.executable, "-m", "venv", str(folder)]).returncode:
        raise Failure(f"can't make a virtual environment in {folder} (see above)")


def pip(python, requirements):
    """Installs pinned packages."""
    note(f"installing the packages of notebooks/{requirements.name}, once, "
         f"into {python.parents[1]}")
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--only-binary", ":all:", "--requirement", str(requirements)]
    if subprocess.run(install).returncode:
        raise Failure(f"the packages of notebooks/{requirements.name} can't be installed (see "
                      "above): PyPI, or a mirror that pip is configured for, has to be reachable")


def cargo_target(manifest):
    """The folder into which cargo builds."""
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--no-deps", *manifest],
        stdout=subprocess.PIPE)
    if metadata.returncode:
        raise Failure("cargo metadata failed (see above)")
    return Path(json.loads(metadata.stdout)["target_directory"])
