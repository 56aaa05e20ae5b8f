"""Runs a command in a terminal of a given width, and prints what the terminal gets: terminal.py COLUMNS COMMAND…"""

import fcntl
import os
import struct
import subprocess
import sys
import termios

ROWS = 40


def main():
    columns, command = int(sys.argv[1]), sys.argv[2:]
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
    # A session of its own, whose terminal this is.
    child = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    while True:
        try:
            printed = os.read(ours, 65536)
        except OSError:
            # Linux says so when nobody has the other side open any more.
            break
        if not printed:
            break
        sys.stdout.buffer.write(printed)
        sys.stdout.buffer.flush()
    code = child.wait()
    sys.exit(code if code >= 0 else 128 - code)


main()
