"""Runs a command in children that are killed, each when a file appears; then once more, to its end.

``python killed.py MOMENTS -- WORDS``: MOMENTS are globs, each once its own child's end. A child is forked from this process,
which has imported everything and computed nothing, so that none of them waits for imports.
"""

from __future__ import annotations

import glob
import os
import signal
import sys
import time


def child(words: list[str]) -> int:
    """Starts the command in a child; its process id."""
    number = os.fork()
    if number:
        return number
    import torch

    torch.set_num_threads(1)
    sys.argv = ["das-explain", *words]
    from das_explain.commands import main

    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 3
    sys.stdout.flush()
    os._exit(code)


def main() -> None:
    """Kills at each moment, then lets it end."""
    at = sys.argv.index("--")
    moments, words = sys.argv[1:at], sys.argv[at + 1 :]
    import das_explain.study.run  # noqa: F401

    for moment in moments:
        process = child(words)
        deadline = time.monotonic() + 120
        while not glob.glob(moment):
            ended, status = os.waitpid(process, os.WNOHANG)
            assert not ended, f"it ended with {status} before {moment}"
            assert time.monotonic() < deadline, f"nothing became of {moment}"
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        print("killed at", moment, flush=True)
    _, status = os.waitpid(child(words), 0)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
