"""Children by fork that say what they found, or are killed: a hang is a failure."""

import contextlib
import os
import select
import signal
import time
import traceback

import pytest

LIMIT = 60.0  # seconds until a child counts as hanging: far more than any needs on a busy machine


def start_child(work):
    """fork: the child writes what work() returns and leaves. Gives (process number, pipe)."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    code = 1
    try:
        os.close(reading)
        os.write(writing, str(work()).encode())
        code = 0
    except BaseException:
        os.write(writing, traceback.format_exc().encode())
    finally:
        os._exit(code)


def finish_child(child, reading, limit=LIMIT):
    """What the child said; kills it and fails when that takes too long."""
    said, end = b"", time.monotonic() + limit
    try:
        while True:
            ready, _, _ = select.select([reading], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                pytest.fail(f"the child hangs: nothing for {limit} s after {said!r}")
            part = os.read(reading, 65536)
            if not part:
                break
            said += part
        while True:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                break
            if time.monotonic() > end:
                pytest.fail(f"the child hangs at its exit after {said!r}")
            time.sleep(0.001)
        child = 0
    finally:
        os.close(reading)
        if child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert status == 0, said.decode()
    return said.decode()


def in_child(work, limit=LIMIT):
    return finish_child(*start_child(work), limit)
