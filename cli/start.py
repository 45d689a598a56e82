"""The beginning of a process: until a command takes care of signals, Ctrl-C ends it at once.

Python would raise an interrupt wherever it is, and what is raised while a module is imported may be lost.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command of this process and end it."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from cli.main import main as command

    command()


if __name__ == "__main__":
    main()
