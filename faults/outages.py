"""The database stops, dies, or has no room."""

from __future__ import annotations

import errno
import os
import time
from typing import Final

from faults.checks import Fault
from faults.rig import Rig

SHORT: Final = 3.0
LONG: Final = 30.0
HUNG_FOR: Final = 10.0
FULL_FOR: Final = 6.0
FILL_EACH: Final = 0.05
BALLAST: Final = bytes(1 << 14)
NO_ROOM: Final = os.strerror(errno.ENOSPC)
"""What PostgreSQL writes, and the others quote."""


def short(rig: Rig) -> Fault:
    return _stopped(rig, SHORT)


def long(rig: Rig) -> Fault:
    return _stopped(rig, LONG)


def killed(rig: Rig) -> Fault:
    """kill -9 of the server and all its backends, started again at once: it recovers from its log."""
    begun = time.time()
    rig.postgres.kill()
    rig.postgres.start()
    return Fault(begun=begun, ended=time.time())


def hung(rig: Rig) -> Fault:
    """SIGSTOP of the server and all its backends: what they were asked meanwhile they do later, for nobody."""
    begun = time.time()
    with rig.postgres.hung():
        time.sleep(HUNG_FOR)
    return Fault(begun=begun, ended=time.time())


def disk_full(rig: Rig) -> Fault:
    """Another file takes what room is left, and goes; a server that gave up is started again.

    Raises:
        RuntimeError: nobody wrote of a want of room.
    """
    told = _told_of_no_room(rig)
    begun = time.time()
    ballast = rig.postgres.log.with_name("ballast")
    with ballast.open("wb", buffering=0) as file:
        while time.time() < begun + FULL_FOR:
            _fill(file.fileno())
            time.sleep(FILL_EACH)
    ballast.unlink()
    if not rig.postgres.running:
        rig.postgres.stop()
        rig.postgres.start()
    ended = time.time()
    if _told_of_no_room(rig) == told:
        raise RuntimeError("the disk was full, and neither PostgreSQL nor any of the others ran out of room")
    return Fault(begun=begun, ended=ended)


def _stopped(rig: Rig, seconds: float) -> Fault:
    begun = time.time()
    rig.postgres.stop()
    time.sleep(seconds)
    rig.postgres.start()
    return Fault(begun=begun, ended=time.time())


def _told_of_no_room(rig: Rig) -> int:
    """How often all logs say so: PostgreSQL's lies on the full disk itself, and may have no room for it."""
    logs = (rig.postgres.log.read_text(errors="replace"), *(service.output for service in rig.services.values()))
    return sum(log.count(NO_ROOM) for log in logs)


def _fill(descriptor: int) -> None:
    try:
        while True:
            os.write(descriptor, BALLAST)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
