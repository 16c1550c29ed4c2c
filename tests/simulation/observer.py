"""Watches the store's commits and writes them down."""

from dataclasses import dataclass, field
from typing import Any, Final

from durable_timer.models.group import GroupState
from durable_timer.models.results import CreateStatus, DeleteStatus
from durable_timer.models.timer import Timer
from durable_timer.stores.base import Swept, Taken
from durable_timer.stores.memory import MemoryDatabase
from tests.simulation.history import History, Settle, Take, Write
from tests.simulation.loop import Process

SILENCE: Final = 2.0
"""A death is declared no sooner than so long after the last beat was committed."""

CLOSED: Final = {GroupState.DELETED, GroupState.PURGING}


@dataclass(slots=True)
class Observer:
    """Told of every call before and after its commit, it keeps what the checks ask for."""

    database: MemoryDatabase
    history: History
    _open: dict[tuple[str, str], Take] = field(default_factory=dict)
    _beats: dict[str, tuple[int, float]] = field(default_factory=dict)
    """By incarnation, its highest counter and when that was committed."""
    _before: dict[str, Timer] = field(default_factory=dict)

    def before(self, process: Process, name: str, args: tuple[Any, ...]) -> None:
        if name == "delete":
            group_id, targets = args[0], args[1]
            rows = ((target.timer_id, self.database.timer(group_id, target.timer_id)) for target in targets)
            self._before = {timer_id: row for timer_id, row in rows if row is not None}

    def committed(self, process: Process, name: str, args: tuple[Any, ...], answer: Any) -> None:
        seen = getattr(self, f"_saw_{name}", None)
        if seen is not None:
            seen(process, args, answer)

    # What executors do

    def _saw_take_due(self, process: Process, args: tuple[Any, ...], answer: Taken) -> None:
        history = self.history
        for timer in answer.timers:
            take = Take(history.loop.time(), process.name, args[1], timer, history.order(), history.clock.offset)
            history.takes.append(take)
            history.by_run[timer.group_id, timer.timer_id, timer.run] = take
            history.last_take[process.name, timer.uid] = take
            self._open[timer.group_id, timer.timer_id] = take
            history.line(
                process.name,
                f"take {timer.timer_id} occurrence={timer.occurrence} attempt={timer.attempt} "
                f"remaining={timer.remaining:.3f} run={timer.run:x} shard={timer.group_id}/{timer.shard}",
            )

    def _saw_settle(self, process: Process, args: tuple[Any, ...], answer: list[bool]) -> None:
        history = self.history
        for outcome, applied in zip(args[0], answer, strict=True):
            take = history.by_run.get((outcome.group_id, outcome.timer_id, outcome.run))
            history.settles.append(
                Settle(history.loop.time(), history.order(), history.clock.now(), process.name, outcome, applied, take)
            )
            if take is not None and applied:
                take.settled = history.order()
                if self._open.get((outcome.group_id, outcome.timer_id)) is take:
                    del self._open[outcome.group_id, outcome.timer_id]
            word = "settle" if applied else "settle refused"
            history.line(
                process.name,
                f"{word} {outcome.timer_id} {outcome.kind} run={outcome.run:x} attempt={outcome.attempt} "
                f"delay={outcome.delay.total_seconds():.3f} at={outcome.at}",
            )

    def _saw_sweep(self, process: Process, args: tuple[Any, ...], answer: Swept) -> None:
        if not answer.recovered and not answer.cancelled:
            return
        history = self.history
        for (group_id, timer_id), take in list(self._open.items()):
            row = self.database.timer(group_id, timer_id)
            if row is None or row.run != take.timer.run:
                del self._open[group_id, timer_id]
                take.recovered = history.order()
                history.line(
                    process.name, f"sweep {timer_id} run={take.timer.run:x} taken by {take.process} at {take.at:.3f}"
                )

    def _saw_claim(self, process: Process, args: tuple[Any, ...], answer: list[int | None]) -> None:
        for claim, epoch in zip(args[0], answer, strict=True):
            if epoch is not None:
                self.history.line(process.name, f"* claim {claim.group_id}/{claim.shard} epoch={epoch} by {args[1]}")
                for stretch in self.history.handovers.get((claim.group_id, claim.shard), ())[-1:]:
                    stretch[1] = min(stretch[1], self.history.loop.time())

    def _saw_release(self, process: Process, args: tuple[Any, ...], answer: list[bool]) -> None:
        for claim, done in zip(args[0], answer, strict=True):
            word = "release" if done else "release refused"
            if done:
                stretches = self.history.handovers.setdefault((claim.group_id, claim.shard), [])
                stretches.append([self.history.loop.time(), float("inf")])
            self.history.line(process.name, f"* {word} {claim.group_id}/{claim.shard} epoch={claim.epoch}")

    def _saw_join(self, process: Process, args: tuple[Any, ...], answer: None) -> None:
        incarnation = args[0].incarnation
        self.history.incarnations[incarnation] = process.name
        self.history.line(process.name, f"* join {incarnation}")
        self._note_deaths()

    def _saw_leave(self, process: Process, args: tuple[Any, ...], answer: None) -> None:
        self.history.line(process.name, f"* leave {args[0]}")

    def _saw_beat(self, process: Process, args: tuple[Any, ...], answer: object) -> None:
        if answer is None:
            self.history.line(process.name, f"* beat refused {args[0]}")
        elif args[1] > self._beats.get(args[0], (0, 0.0))[0]:
            self._beats[args[0]] = (args[1], self.history.loop.time())

    def _saw_declare_dead(self, process: Process, args: tuple[Any, ...], answer: bool) -> None:
        incarnation = args[0]
        if self._note_deaths():
            silent = self.history.loop.time() - self._beats.get(incarnation, (0, 0.0))[1]
            if silent < SILENCE:
                self.history.violations.append(f"murder: {incarnation} was declared dead {silent:.3f} s after its beat")
        dead = self.history.incarnations.get(incarnation)
        self.history.line(process.name, f"* declare dead {incarnation} of {dead}: {answer}")

    def _note_deaths(self) -> bool:
        """Writes down who is newly dead; whether somebody is."""
        found = False
        for incarnation, row in self.database.members.items():
            if row.member.dead and incarnation not in self.history.deaths:
                self.history.deaths[incarnation] = self.history.order()
                found = True
        return found

    # What clients do

    def _saw_create(self, process: Process, args: tuple[Any, ...], answer: Any) -> None:
        for new, result in zip(args[0], answer, strict=True):
            if result.status in {CreateStatus.CREATED, CreateStatus.REPLACED}:
                self._wrote(process, result.status.value, result.timer, new)

    def _saw_update(self, process: Process, args: tuple[Any, ...], answer: Any) -> None:
        if answer.refusal is None:
            self._wrote(process, "update", answer.timer, args[2])

    def _saw_run(self, process: Process, args: tuple[Any, ...], answer: Any) -> None:
        for result in answer:
            if result.refusal is None:
                self._wrote(process, "run", result.timer)

    def _saw_redrive(self, process: Process, args: tuple[Any, ...], answer: Any) -> None:
        for result in answer:
            if result.refusal is None:
                self._wrote(process, "redrive", result.timer)

    def _saw_delete(self, process: Process, args: tuple[Any, ...], answer: Any) -> None:
        for target, result in zip(args[1], answer, strict=True):
            row = self._before.get(target.timer_id)
            if row is None:
                continue
            if result.status is DeleteStatus.DELETED:
                self._wrote(process, "delete", row)
            elif result.status is DeleteStatus.STOPPING:
                self._wrote(process, "stop", row)

    def _wrote(self, process: Process, op: str, row: Timer, asked: Any = None) -> None:
        history = self.history
        history.writes.append(Write(history.loop.time(), history.order(), op, row, asked))
        history.line(
            process.name,
            f"{op} {row.timer_id} occurrence={row.occurrence} state={row.state} due={row.due_at:%H:%M:%S.%f} "
            f"shard={row.group_id}/{row.shard} {row.callback_url}",
        )

    def _saw_register_group(self, process: Process, args: tuple[Any, ...], answer: Any) -> None:
        self._group(process, args[0].group_id, closed=answer.spec.paused)

    def _saw_set_group_state(self, process: Process, args: tuple[Any, ...], answer: Any) -> None:
        self._group(process, args[0], closed=answer.state in CLOSED or answer.spec.paused)

    def _group(self, process: Process, group_id: str, *, closed: bool) -> None:
        stretches = self.history.closed_groups.setdefault(group_id, [])
        now = self.history.loop.time()
        is_closed = bool(stretches) and stretches[-1][1] == float("inf")
        if closed and not is_closed:
            stretches.append([now, float("inf")])
        elif not closed and is_closed:
            stretches[-1][1] = now
        self.history.line(process.name, f"* group {group_id} {'closed' if closed else 'open'}")
