"""The reader of Storm's multilang protocol that the players of this folder share."""

import json
import os
import sys


def read_message():
    """Reads the next message. Ends the process at the end of the input."""
    lines = []
    while True:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        if line == "end\n":
            return json.loads("".join(lines))
        lines.append(line)
