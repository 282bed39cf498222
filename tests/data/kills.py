"""Kill a task at a chosen step: whatever Python does to the file system raises an audit event."""

import itertools
import os
import signal
import sys
from collections.abc import Callable


def killed(task: Callable[[], object], at: int) -> bool:
    """Run a function in a child process that is killed before its n-th change of the file system.

    Returns whether it was killed, which it is not if it makes fewer changes.
    """
    if child := os.fork():
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    changes = itertools.count(1)

    def kill(event: str, arguments: tuple[object, ...]) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & {"w", "a", "+"}
        if (writes or event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir")) and next(changes) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(kill)
    try:
        task()
    finally:
        os._exit(0)
