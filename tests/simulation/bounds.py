"""How late, how many at once, and when not at all: the bounds of promises 2, 5 and 7, asked of a history."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tests.simulation.clocks import EPOCH
from tests.simulation.history import History, Send
from tests.simulation.scenario import FEW_A_SECOND, FEW_AT_ONCE, Scenario
from tests.simulation.targets import PROMPT

Stretch = tuple[float, float]

RESUME: Final = 5.0
"""Promise 5: a killed executor's timers fire again within this; a lifted fault is over after it."""
GAP: Final = 1.0
"""Promise 5: the longest gap of a planned stop, in seconds."""
GAP_IN_FAULTS: Final = 10.0
"""The same where single calls fail or take seconds: a take whose answer is lost is swept after 3 s."""
PROMPTLY: Final = 0.1
"""Within this, with nothing in the way, 95 of 100 callbacks leave: the network takes 1 to 4 ms each way."""
CLOSING: Final = 3.0
"""A group's pause or deletion is done so long after the write, whatever the weather."""
OPENING: Final = 2.0
ROOMY: Final = 50
"""From so many places per target on, nothing prompt has to wait for one."""


def check_bounds(history: History, scenario: Scenario) -> Iterator[str]:
    """All violations of bounds, each as a sentence."""
    yield from in_time(history, scenario)
    yield from promptly(history, scenario)
    yield from closed_groups(history)
    yield from places(history, scenario)
    if scenario.tight:
        yield from at_once(history, scenario)
        yield from a_second(history, scenario)


def lateness(history: History, scenario: Scenario) -> Iterator[tuple[Send, float]]:
    """Each send to a prompt target with its lateness in seconds, less what faults and closed groups excuse.

    Groups whose own limits hold them up are left out.
    """
    held_up = {"beta", "gamma"} if scenario.tight else set()
    faults = _merged([(fault.start, fault.end + RESUME) for fault in history.faults])
    by_group = {
        group_id: _merged(faults + [(start, end + OPENING) for start, end in stretches])
        for group_id, stretches in history.closed_groups.items()
    }
    for send in history.sends:
        if send.host in PROMPT and send.take is not None and send.group_id not in held_up:
            due = (send.take.timer.due_at - EPOCH).total_seconds()
            excused = by_group.get(send.group_id, faults)
            yield send, send.at - due - _overlap(excused, due, send.at)


def in_time(history: History, scenario: Scenario) -> Iterator[str]:
    """Promises 2 and 5: within a second in calm and at planned stops, five seconds after a fault."""
    if scenario.slots < ROOMY or scenario.slots_per_target < ROOMY:
        return
    if scenario.weather.step_back:
        return
    limit = GAP_IN_FAULTS if scenario.weather.rough else GAP
    for send, late in lateness(history, scenario):
        if late > limit:
            yield f"late: {send.timer_id} occurrence {send.occurrence} left {late:.3f} s late, at {send.at:.3f}"


def promptly(history: History, scenario: Scenario) -> Iterator[str]:
    """Promise 2 in calm: a wake-up or a look that comes too late shows in many timers by less than a second."""
    if scenario.weather.disturbs:
        return
    late = [(send, seconds - _handed_over(history, send)) for send, seconds in lateness(history, scenario)]
    slow = [send for send, seconds in late if seconds > PROMPTLY]
    waited = sum(_waited_for_a_slot(history, scenario, send) for send in slow)
    if 20 * (len(slow) - waited) > len(late) - waited:
        yield f"slow: {len(slow) - waited} of {len(late) - waited} callbacks left more than {PROMPTLY} s late, and nothing was in the way"


def _handed_over(history: History, send: Send) -> float:
    """For how long, between its due time and its send, the shard was handed over: no longer than a second, or it is late."""
    if send.take is None:
        return 0.0
    timer = send.take.timer
    stretches = [(start, end) for start, end in history.handovers.get((timer.group_id, timer.shard), ())]
    return _overlap(stretches, (timer.due_at - EPOCH).total_seconds(), send.at)


def _waited_for_a_slot(history: History, scenario: Scenario, send: Send) -> bool:
    """Whether so many requests were under way all the while it was due that others may have had its slot.

    A group has no more of them than are free then, and a host half as many (`engine.targets`).
    """
    if send.take is None:
        return False
    due = (send.take.timer.due_at - EPOCH).total_seconds()
    before = [other for other in history.sends if other.process == send.process and other.at < due]
    return 4 * sum(other.ended is None or other.ended >= send.at for other in before) >= scenario.slots


def closed_groups(history: History) -> Iterator[str]:
    """Nothing of a paused or deleted group is sent, once its closing is done."""
    for send in history.sends:
        for start, end in history.closed_groups.get(send.group_id, ()):
            if start + CLOSING < send.at < end:
                yield f"closed: {send.timer_id} of {send.group_id} was sent {send.at - start:.3f} s after its closing"


def places(history: History, scenario: Scenario) -> Iterator[str]:
    """Requests under way and timers held are bounded, per process and per target."""
    events: dict[str, list[tuple[float, int, str]]] = defaultdict(list)
    for send in history.sends:
        events[send.process].append((send.at, 1, send.host))
        if send.ended is not None:
            events[send.process].append((send.ended, -1, send.host))
    for process, changes in events.items():
        under_way = 0
        by_host: dict[str, int] = defaultdict(int)
        for at, change, host in sorted(changes):
            under_way += change
            by_host[host] += change
            if under_way > scenario.slots or by_host[host] > scenario.slots_per_target:
                yield f"crowded: {process} had {under_way} requests under way at {at:.3f}, {by_host[host]} to {host}"
                break


def at_once(history: History, scenario: Scenario) -> Iterator[str]:
    """`maxInFlight` over all executors: each has its share of it, at least 1, and its successor has it again."""
    changes = sorted(
        change
        for send in history.sends
        if send.group_id == "beta" and send.ended is not None
        for change in ((send.at, 1), (send.ended, -1))
    )
    limit = 2 * (FEW_AT_ONCE + scenario.executors)
    under_way = 0
    for at, change in changes:
        under_way += change
        if under_way > limit:
            yield f"too many: {under_way} callbacks of beta were under way at {at:.3f}"
            return


def a_second(history: History, scenario: Scenario) -> Iterator[str]:
    """`rateLimit` over all executors, by a bucket for each one's share; a successor begins with a full one."""
    times = [send.at for send in history.sends if send.group_id == "gamma"]
    limit = 4 * FEW_A_SECOND + 2 * scenario.executors
    for first, last in zip(times, times[limit:], strict=False):
        if last - first < 1.0:
            yield f"too fast: more than {limit} callbacks of gamma left within a second of {first:.3f}"
            return


def _merged(stretches: list[Stretch]) -> list[Stretch]:
    merged: list[Stretch] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _overlap(stretches: list[Stretch], start: float, end: float) -> float:
    return sum(max(0.0, min(end, until) - max(start, since)) for since, until in stretches)
