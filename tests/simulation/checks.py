"""Promises 1 to 5 and the bounds of 7, asked of a history once it is over."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from durable_timer.models.outcome import OutcomeKind
from durable_timer.models.timer import LastOutcome, Timer, TimerState
from tests.simulation.history import History, Reply, Send, Settle, Write
from tests.simulation.scenario import spec_of

TICK: Final = timedelta(microseconds=2)
SUCCESS: Final = frozenset({Reply.DONE, Reply.AGAIN})
ENDS: Final = frozenset({"delete", "stop", "stopped"})
Occurrence = tuple[int, int]


@dataclass(slots=True)
class Evidence:
    """A history, arranged for the checks: by timer (uid) and by occurrence."""

    history: History
    rows: list[Timer]
    sends: dict[Occurrence, list[Send]] = field(default_factory=lambda: defaultdict(list))
    sends_of: dict[int, list[Send]] = field(default_factory=lambda: defaultdict(list))
    settles: dict[Occurrence, list[Settle]] = field(default_factory=lambda: defaultdict(list))
    writes: dict[int, list[Write]] = field(default_factory=lambda: defaultdict(list))
    kills: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for send in self.history.sends:
            self.sends[send.uid, send.occurrence].append(send)
            self.sends_of[send.uid].append(send)
        for settle in self.history.settles:
            if settle.applied and settle.take is not None:
                timer = settle.take.timer
                self.settles[timer.uid, timer.occurrence].append(settle)
        for write in self.history.writes:
            self.writes[write.row.uid].append(write)
        self.kills = {
            fault.process: fault.start for fault in self.history.faults if fault.kind == "kill" and fault.process
        }

    def lost_claim(self, send: Send, until: Send) -> bool:
        """Whether the sender died, or was declared dead, between its take and a later send."""
        if send.take is None:
            return False
        death = self.history.deaths.get(send.take.incarnation)
        if death is not None and send.take.order < death < until.order:
            return True
        killed = self.kills.get(send.process)
        return killed is not None and send.take.at <= killed <= until.at


def check_all(history: History, rows: list[Timer]) -> Iterator[str]:
    """All violations of the promises about single timers, each as a sentence that names the timer."""
    evidence = Evidence(history, rows)
    for check in (delivered, outcomes_are_real, never_early, exact, no_duplicates, no_overlap, attempts, schedules):
        yield from check(evidence)


def delivered(evidence: Evidence) -> Iterator[str]:
    """Promise 1: what was created and not cancelled is there, and ended as its deliveries say."""
    present = {row.uid: row for row in evidence.rows}
    for uid, writes in evidence.writes.items():
        row = present.get(uid)
        ended = any(write.op in ENDS for write in writes)
        if row is None and not ended:
            yield f"lost: {writes[0].row.timer_id} is gone and nobody cancelled it"
        elif row is not None and ended:
            yield f"back: {row.timer_id} was cancelled and is there again"
        elif row is not None:
            yield from _ended_rightly(evidence, row)


def _ended_rightly(evidence: Evidence, row: Timer) -> Iterator[str]:
    sends = evidence.sends[row.uid, row.occurrence]
    if row.state is TimerState.COMPLETED:
        if not any(send.answer in SUCCESS for send in sends):
            yield f"undelivered: {row.timer_id} is completed and occurrence {row.occurrence} never succeeded"
    elif row.state is TimerState.FAILED:
        most = (row.retry_policy and row.retry_policy.max_attempts) or spec_of(row.group_id).retry_policy.max_attempts
        tries = sum(send.answer in {Reply.FAILED, Reply.TIMEOUT} for send in sends)
        refused = any(send.answer is Reply.REFUSED for send in sends)
        missed = row.starting_deadline is not None and not sends
        if not (refused or missed or tries >= most):
            yield f"gave up: {row.timer_id} failed after {tries} of {most} attempts"


def outcomes_are_real(evidence: Evidence) -> Iterator[str]:
    """What was settled as an outcome came of a delivery by the one who settled it."""
    for (uid, occurrence), settles in evidence.settles.items():
        for settle in settles:
            outcome, take = settle.outcome, settle.take
            if outcome.kind is OutcomeKind.DEFERRED or take is None or take.timer.deadline_exceeded:
                continue
            good = outcome.kind is OutcomeKind.COMPLETED or outcome.last_outcome is LastOutcome.COMPLETED
            fits = [
                send
                for send in evidence.sends[uid, occurrence]
                if send.take is take and send.ended is not None and (send.answer in SUCCESS) == good
            ]
            if not fits and not (outcome.kind is OutcomeKind.NEXT and _asked_again(evidence, settle)):
                yield f"invented: {outcome.timer_id} settled {outcome.kind} without such an answer"


def _asked_again(evidence: Evidence, settle: Settle) -> bool:
    if settle.take is None:
        return False
    timer = settle.take.timer
    return any(
        send.take is settle.take and send.answer is Reply.AGAIN for send in evidence.sends[timer.uid, timer.occurrence]
    )


def never_early(evidence: Evidence) -> Iterator[str]:
    """Promise 2: not before what was promised, asked, or put off.

    By the store's clock as it went at the take: a step back later than that undoes nothing.
    """
    dues: dict[Occurrence, list[tuple[int, datetime]]] = defaultdict(list)
    for write in evidence.history.writes:
        dues[write.row.uid, write.row.occurrence].append((write.order, write.row.due_at))
    for (uid, occurrence), settles in evidence.settles.items():
        for settle in settles:
            outcome = settle.outcome
            if outcome.kind is OutcomeKind.NEXT and outcome.at is not None:
                dues[uid, occurrence + 1].append((settle.order, outcome.at))
            elif outcome.delay > timedelta(0):
                dues[uid, occurrence].append((settle.order, settle.store_now + outcome.delay))
    for send in evidence.history.sends:
        if send.take is None or send.take.timer.occurrence != send.occurrence:
            yield f"untaken: {send.timer_id} occurrence {send.occurrence} was sent by {send.process} without a take"
            continue
        if send.take.timer.deadline_exceeded:
            yield f"overdue: {send.timer_id} was sent by {send.process} although its starting deadline had passed"
        known = sorted(dues[send.uid, send.occurrence])
        before = bisect_left(known, send.take.order, key=lambda item: item[0])
        due = known[before - 1][1] if before else send.take.timer.due_at
        shown = evidence.history.clock.at(send.at, send.take.offset)
        early = max(due, send.take.timer.due_at) - shown
        if early > TICK:
            yield f"early: {send.timer_id} occurrence {send.occurrence} left {early.total_seconds():.6f} s before its time"


def exact(evidence: Evidence) -> Iterator[str]:
    """Promise 3: after an accepted cancel or reschedule, the old time does not fire."""
    for uid, writes in evidence.writes.items():
        for write in writes:
            for send in evidence.sends_of[uid]:
                if send.order > write.order and _is_forbidden(write, send):
                    yield (
                        f"inexact: {send.timer_id} occurrence {send.occurrence} was sent by {send.process} "
                        f"at {send.at:.6f}, after {write.op} at {write.at:.6f}"
                    )


def _is_forbidden(write: Write, send: Send) -> bool:
    if write.op == "delete":
        return True
    if write.op == "stop":
        return send.take is None or send.take.timer.run != write.row.run
    return send.occurrence < write.row.occurrence


def no_duplicates(evidence: Evidence) -> Iterator[str]:
    """Promise 4: a second delivery of a success only when the first one's executor died or lost its claim."""
    for sends in evidence.sends.values():
        for earlier, later in pairwise(sends):
            if earlier.answer in SUCCESS and not evidence.lost_claim(earlier, later):
                yield (
                    f"duplicate: {later.timer_id} occurrence {later.occurrence} was sent by {earlier.process} "
                    f"at {earlier.at:.6f} with success and by {later.process} at {later.at:.6f}"
                )


def no_overlap(evidence: Evidence) -> Iterator[str]:
    """Runs of one timer never overlap, but for those whose executor died or lost its claim."""
    for sends in evidence.sends_of.values():
        for earlier, later in pairwise(sends):
            under_way = earlier.ended is None or earlier.ended > later.at
            if under_way and not evidence.lost_claim(earlier, later):
                yield (
                    f"overlap: {later.timer_id} was sent by {later.process} at {later.at:.6f} "
                    f"while {earlier.process} was still at it since {earlier.at:.6f}"
                )


def attempts(evidence: Evidence) -> Iterator[str]:
    """Attempts count real outcomes, each once, and nothing else."""
    for occurrence, sends in evidence.sends.items():
        retries = [settle.order for settle in evidence.settles[occurrence] if settle.outcome.kind is OutcomeKind.RETRY]
        for send in sends:
            if send.take is None:
                continue
            expected = 1 + bisect_left(retries, send.take.order)
            if send.attempt != expected:
                yield f"miscounted: {send.timer_id} was sent as attempt {send.attempt} and is attempt {expected}"


def schedules(evidence: Evidence) -> Iterator[str]:
    """A schedule's occurrences are on cron's times, and none is left out."""
    for (uid, occurrence), settles in evidence.settles.items():
        for settle in settles:
            outcome, take = settle.outcome, settle.take
            if take is None or take.timer.schedule is None or outcome.kind is not OutcomeKind.NEXT:
                continue
            if _asked_again(evidence, settle) or outcome.at is None:
                continue
            gap = outcome.at - max(settle.store_now, take.timer.execute_at)
            if _off(outcome.at) or gap > timedelta(minutes=1, seconds=6):
                yield f"off schedule: {outcome.timer_id} goes on at {outcome.at}, settled at {settle.store_now}"
            moved = any(
                write.row.occurrence == occurrence + 1 and write.op != "change" for write in evidence.writes[uid]
            )
            for send in evidence.sends[uid, occurrence + 1]:
                if not moved and send.execute_at != outcome.at:
                    yield f"off schedule: {outcome.timer_id} was promised for {outcome.at} and sent for {send.execute_at}"


def _off(at: datetime) -> bool:
    return bool(at.second or at.microsecond)
