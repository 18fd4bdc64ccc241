"""Claims keep two processes from doing the same work; results are right without them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from filelock import SoftFileLease, Timeout

log = logging.getLogger(__name__)
LEASE = 120.0  # seconds; a claim that was not renewed for so long is that of a dead process
_waits = ContextVar("waits", default=True)
# One by path: a lease expires for those who have watched it for its duration.
_lease = cache(lambda path: SoftFileLease(path, lease_duration=LEASE))


class Held(RuntimeError):
    """Another process is doing this work."""


@contextmanager
def without_waiting() -> Iterator[None]:
    """Let `claimed` raise `Held` where it would wait."""
    token = _waits.set(False)
    try:
        yield
    finally:
        _waits.reset(token)


@contextmanager
def claimed(path: Path) -> Iterator[None]:
    """Hold a claim, a file that a thread renews; wait first until its holder is done or dead."""
    with suppress(FileExistsError):  # of a folder that others remove now; then without a claim
        path.parent.mkdir(parents=True, exist_ok=True)
    lease = _lease(path)
    try:
        lease.acquire(timeout=0)
    except Timeout:
        owner = lease.owner  # read once, as it may be gone at any time
        owner = f"process {owner.pid} of {owner.hostname}" if owner else "a process that just ended"
        held = f"{path.stem.strip('.')} in {path.parent} is being made by {owner}"
        if not _waits.get():
            raise Held(held) from None
        log.warning("waiting: %s", held)
        with suppress(FileNotFoundError):  # the folder is joined: there is nothing to hold
            lease.acquire(poll_interval=0.2)
    except (FileExistsError, FileNotFoundError):
        pass
    try:
        yield
    finally:
        lease.release()
