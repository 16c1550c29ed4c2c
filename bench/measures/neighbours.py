"""What trouble beside it does to a group's lateness: its p99 against its own alone, in the same run.

Where the trouble is rows, the executor is stopped while they are written, so that they wait when the load begins.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from bench import firing, load, timers
from bench.background import Background, repeated
from bench.charts import Bars, Lines
from bench.cluster import Cluster, GroupShape, Shape
from bench.database import Fill, State
from bench.lab import Lab, Outcome
from bench.measures.growth import fill
from bench.measures.paging import ListPages, Redrives
from bench.receiver import unreachable

OTHER = "other"
SLOW_TIMEOUT = timedelta(seconds=60)
AN_AGE = timedelta(hours=2)
"""For how long rows that wait have been due, and finished ones are over: longer than what is kept."""

Found = dict[str, float | int | str]
Trouble = Callable[[Lab, Cluster, Found], contextlib.AbstractContextManager[None]]


def dead_host(lab: Lab) -> Outcome:
    """Many due timers in the group's own shards, to whose host connections time out."""

    @contextlib.contextmanager
    def trouble(lab: Lab, cluster: Cluster, found: Found) -> Iterator[None]:
        with unreachable() as url:
            track = _waiting(lab, cluster, lab.sizes.dead, url, timers.GROUP)
            yield
            found["tried"] = lab.sizes.dead - cluster.database.untried(timers.GROUP, track)
            found["still_pending"] = cluster.database.count(timers.GROUP, State.PENDING, track)

    return _beside(lab, trouble)


def slow_target(lab: Lab) -> Outcome:
    """Due timers in the group's own shards for a target that takes 30 s to answer."""

    @contextlib.contextmanager
    def trouble(lab: Lab, cluster: Cluster, found: Found) -> Iterator[None]:
        slow = cluster.receiver.slow
        track = _waiting(lab, cluster, lab.sizes.slow, slow, timers.GROUP, timeout=SLOW_TIMEOUT)
        yield
        found["begun"] = cluster.receiver.count(track)

    return _beside(lab, trouble)


def due_group(lab: Lab) -> Outcome:
    """Another group whose million timers are all due."""

    @contextlib.contextmanager
    def trouble(lab: Lab, cluster: Cluster, found: Found) -> Iterator[None]:
        track = _waiting(lab, cluster, lab.sizes.many, cluster.receiver.url, OTHER)
        yield
        found["others_delivered"] = cluster.receiver.count(track)
        found["others_still_due"] = cluster.database.count(OTHER, State.PENDING, track)

    return _beside(lab, trouble)


def creating_group(lab: Lab) -> Outcome:
    """Single creates into another group, paced."""

    @contextlib.contextmanager
    def trouble(lab: Lab, cluster: Cluster, found: Found) -> Iterator[None]:
        requests = timers.creates(timers.new_track(), cluster.receiver.url, OTHER)
        sizes = lab.sizes
        with Background() as background:
            sending = background.run(
                lambda: load.send(cluster.bridge, background.until_over(requests), sizes.connections, sizes.create_rate)
            )
            yield
        done = sending()
        found |= {"creates_per_second": done.per_second, "creates_p99_ms": done.p99_ms, "creates_refused": done.refused}

    return _beside(lab, trouble)


def listing(lab: Lab) -> Outcome:
    """Lists and redrives by filter, one after the other without pause; the group is paused, so that none of them fires."""

    @contextlib.contextmanager
    def trouble(lab: Lab, cluster: Cluster, found: Found) -> Iterator[None]:
        _finished(lab, cluster, State.FAILED)
        pages, redrives = ListPages(cluster.bridge, OTHER), Redrives(cluster.bridge, OTHER)
        with contextlib.closing(pages), contextlib.closing(redrives), Background() as background:
            background.run(lambda: repeated(background, pages.next))
            background.run(lambda: repeated(background, redrives.next))
            yield
        found |= pages.figures() | redrives.figures()

    return _beside(lab, trouble, GroupShape(OTHER, paused=True))


def purging(lab: Lab) -> Outcome:
    """Finished rows whose retention is over."""

    @contextlib.contextmanager
    def trouble(lab: Lab, cluster: Cluster, found: Found) -> Iterator[None]:
        track = _finished(lab, cluster, State.COMPLETED)
        begun = _until_fewer(cluster, track, lab.sizes.many, lab.sizes.purge_within)
        yield
        left = cluster.database.count(OTHER, State.COMPLETED, track)
        found |= {"purged": begun - left, "left_to_purge": left}

    return _beside(lab, trouble)


def _until_fewer(cluster: Cluster, track: str, count: int, within: float) -> int:
    """Waits until rows begin to go, not for long, and says how many there are then."""
    deadline = time.monotonic() + within
    while (left := cluster.database.count(OTHER, State.COMPLETED, track)) == count and time.monotonic() < deadline:
        time.sleep(0.5)
    return left


def _beside(lab: Lab, trouble: Trouble, other: GroupShape | None = None) -> Outcome:
    cluster, sizes = lab.cluster(Shape(groups=(GroupShape(), other or GroupShape(OTHER))), fresh=True), lab.sizes
    after = firing.evenly(sizes.rate, sizes.steady_seconds)
    firing.fire(cluster, after[: len(after) // 4], sizes.lead)
    lab.say("  alone")
    alone = firing.fire(cluster, after, sizes.lead)
    lab.say("  the trouble is prepared")
    found: Found = {}
    with trouble(lab, cluster, found):
        beside = firing.fire(cluster, after, sizes.lead)
    figures: Found = {f"alone/{name}": value for name, value in alone.figures.items()}
    figures |= {f"beside/{name}": value for name, value in beside.figures.items()}
    figures |= {**firing.ratio("p99_ratio", beside.p99(), alone.p99(), 2), **found}
    p99s = {"alone": alone.p99(), "beside it": beside.p99()}
    lines = {"alone": firing.lateness_line(cluster, alone), "beside it": firing.lateness_line(cluster, beside)}
    return Outcome(figures, (Bars("Lateness p99", "ms", p99s), Lines("Lateness p99 over time", "seconds", "ms", lines)))


def _waiting(lab: Lab, cluster: Cluster, count: int, url: str, group: str, timeout: timedelta | None = None) -> str:
    """Timers that have long been due when the executor starts again."""
    track = timers.new_track()
    due, step = datetime.now(UTC) - AN_AGE, timedelta(microseconds=1)
    with lab.stopped(cluster):
        fill(lab, cluster, Fill(track=track, count=count, due=due, step=step, url=url, group=group, timeout=timeout))
    return track


def _finished(lab: Lab, cluster: Cluster, state: State) -> str:
    """Rows of the other group that are over, there when the executor starts again."""
    track = timers.new_track()
    due, step = datetime.now(UTC) - AN_AGE, timedelta(microseconds=1)
    rows = Fill(
        track=track, count=lab.sizes.many, due=due, step=step, url=cluster.receiver.url, group=OTHER, state=state
    )
    with lab.stopped(cluster):
        fill(lab, cluster, rows)
    return track
