"""What processes use: CPU seconds and memory, as Linux counts them."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system CPU seconds of a process so far; 0 when it is gone."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS if fields else 0.0


def family_cpu_seconds(pid: int) -> float:
    """The same of a process and of all its children, also of those that it has seen end."""
    fields = _stat(pid)
    ended = (int(fields[13]) + int(fields[14])) / _TICKS if fields else 0.0
    return ended + cpu_seconds(pid) + sum(cpu_seconds(child) for child in children(pid))


def own_cpu_seconds() -> float:
    """The same of this process and of those that it has started and seen end."""
    used = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(part.ru_utime + part.ru_stime for part in used)


def machine_cpu_seconds() -> float:
    """CPU seconds that all of this machine has spent on work so far."""
    user, nice, system, _idle, _wait, interrupts, soft = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / _TICKS


def memory_mib(pids: Iterable[int]) -> float:
    """Memory in MiB; pages that several processes share count in part for each."""
    return round(sum(_proportional(pid) for pid in pids) / 1024, 1)


@dataclass(frozen=True, slots=True)
class Use:
    """What a process holds: resident memory, descriptors, those of them that are sockets (their inodes), threads; and the
    CPU seconds that it has used."""

    memory_mib: float
    descriptors: int
    sockets: frozenset[int]
    threads: int
    cpu_seconds: float


def use(pid: int) -> Use | None:
    """Of a process; None when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        links = [_link(descriptor) for descriptor in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return None
    status = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    if "VmRSS" not in status:
        return None
    sockets = frozenset(int(link[8:-1]) for link in links if link.startswith("socket:["))
    return Use(int(status["VmRSS"][0]) / 1024, len(links), sockets, int(status["Threads"][0]), cpu_seconds(pid))


def sockets_to(url: str) -> frozenset[int]:
    """The inodes of this machine's open sockets to an address of IPv4."""
    port = f":{urlsplit(url).port or 0:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return frozenset(int(row[9]) for row in rows if row[2].endswith(port))


def _link(descriptor: Path) -> str:
    """What a descriptor stands for; nothing when it has been closed meanwhile."""
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """The ids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def parent(pid: int) -> int | None:
    """The id of a process's parent, None when there is no such process here."""
    fields = _stat(pid)
    return int(fields[1]) if fields else None


def name(pid: int) -> str | None:
    """A process's name, None when there is no such process here."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat behind the name."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _proportional(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
