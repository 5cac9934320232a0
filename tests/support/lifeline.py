"""Run a Python script, or a module after -m, in a process that ends with its parent process.

    python lifeline.py SCRIPT ARGUMENTS
    python lifeline.py -m MODULE ARGUMENTS

The parent holds the other end of its stdin, and writes nothing there. Every system closes that end when the parent
ends, even if it is killed. A thread waits for this, and then ends its own process as SIGTERM does.
"""

import os
import runpy
import signal
import sys
import threading
import time

GRACE = 60.0  # seconds for cleaning up before the process is killed


def main() -> None:
    """Run what the command line names, as Python itself would."""
    _end_with_stdin()
    arguments = sys.argv[1:]
    if arguments[0] == "-m":
        sys.argv, sys.path[0] = arguments[1:], os.getcwd()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv, sys.path[0] = arguments, os.path.dirname(os.path.abspath(arguments[0]))
        runpy.run_path(arguments[0], run_name="__main__")


def _end_with_stdin() -> None:
    """Watch stdin, and replace it by an empty one: Windows can't pass on a stdin that a thread is reading."""
    lifeline = os.dup(0)
    with open(os.devnull, "rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)


if __name__ == "__main__":
    main()
