"""What is said to the person who runs notebooks/run."""

import sys


class Failure(Exception):
    """An error that ends the run, whose text says what to do."""


def note(text):
    """Says on standard error what happens."""
    print(f"notebooks/run: {text}", file=sys.stderr, flush=True)
