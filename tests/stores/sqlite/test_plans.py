"""What statements cost: by which index they go, and that no work grows with what is pending, due or finished.

Work is counted in steps of SQLite's machine, which depend on neither the machine nor its other tasks.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from durable_timer.models.group import GroupRegistration, TimerGroupSpec
from durable_timer.models.outcome import Outcome, OutcomeKind
from durable_timer.models.ownership import Claim, Member, MemberReport
from durable_timer.models.page import Position, TimerFilter
from durable_timer.models.results import IfExists
from durable_timer.models.timer import NewTimer, TimerState
from durable_timer.planning.sharding import shard_of
from durable_timer.stores.base import TakeGroup, Taken, TakeShard
from durable_timer.stores.sqlite import (
    counts,
    creates,
    groups,
    lists,
    ownership,
    schema,
    settles,
    sweeps,
    takes,
    writes,
)
from durable_timer.stores.sqlite.transaction import Transaction

SHARDS = 16
FEW = 5_000
MANY = 250_000
STEP = 20
SECOND = timedelta(seconds=1)

_FILL = """
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :rows)
    INSERT INTO timers (group_id, timer_id, shard, uid, version, state, execute_at, due_at, occurrence, attempt,
        callback_url, fingerprint, created_at, updated_at, cancel_requested, suspended, labels, executed_at)
    SELECT 'g', printf('%08x-%d', (i * 2654435761) % 4294967296, i), i / 4 % :shards, i, 1,
        CASE i % 4 WHEN 2 THEN 2 WHEN 3 THEN 3 ELSE 0 END, :now + i,
        CASE i % 4 WHEN 0 THEN :now + 86400000000 + i ELSE :now - i END,
        1, 0, 'http://target.example/hook', x'00', :now, :now, 0, i % 101 = 0, '{"all": "yes"}',
        CASE WHEN i % 4 >= 2 THEN :now - i * 1000 END
    FROM n
"""
"""A quarter far, one due, one completed, one failed; one in a hundred pending ones is suspended."""


@dataclass
class Work:
    """What ran: steps of SQLite's machine (in units of STEP), and the plan of each statement."""

    steps: int = 0
    statements: list[str] = field(default_factory=list)
    plans: list[str] = field(default_factory=list)


@dataclass
class Table:
    """A table of timers whose shards one member owns."""

    transaction: Transaction
    claims: list[Claim] = field(default_factory=list)
    run: int = 0

    @contextmanager
    def watched(self) -> Iterator[Work]:
        work = Work()
        connection = self.transaction.connection

        def step() -> int:
            work.steps += 1
            return 0

        connection.set_trace_callback(work.statements.append)
        connection.set_progress_handler(step, STEP)
        try:
            yield work
        finally:
            connection.set_progress_handler(None, STEP)
            connection.set_trace_callback(None)
        for statement in dict.fromkeys(work.statements):
            work.plans += [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]

    def take(self, limit: int = 100, shards: int = SHARDS) -> Taken:
        self.run += 1
        asked = [TakeShard(claim.shard, claim.epoch, None) for claim in self.claims[:shards]]
        return takes.take_due(self.transaction, [TakeGroup("g", asked, limit)], "me", SECOND / 10, self.run)

    def settle(self, taken: Taken, kind: OutcomeKind) -> None:
        at = self.transaction.now
        outcomes = [
            Outcome(group_id="g", timer_id=timer.timer_id, run=timer.run, kind=kind, delay=SECOND, at=at)
            for timer in taken.timers
        ]
        assert all(settles.settle(self.transaction, [outcomes])[0])

    def page(self, where: TimerFilter, after: Position | None = None) -> Position | None:
        return lists.page(self.transaction.connection, "g", where, limit=100, after=after, payloads=True).end


@contextmanager
def table(file: Path, rows: int, shards: int = SHARDS) -> Iterator[Table]:
    schema.migrate(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        connection.execute("BEGIN")
        now = datetime.now(UTC)
        transaction = Transaction(connection, now)
        connection.execute(_FILL, {"rows": rows, "now": transaction.micros, "shards": shards})
        groups.register(transaction, GroupRegistration("g", "file:x", shards, "p", TimerGroupSpec(), 1))
        ownership.join(transaction, Member("me", "me", "p", None, 0, False, False, MemberReport()))
        seen = [Claim(row.group_id, row.shard, row.epoch) for row in ownership.shards(connection, "p")[0]]
        epochs = ownership.claim(transaction, seen, "me")
        claims = [item._replace(epoch=epoch) for item, epoch in zip(seen, epochs, strict=True) if epoch is not None]
        assert len(claims) == shards
        yield Table(transaction, claims)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    with table(tmp_path_factory.mktemp("few") / "timers.db", FEW) as made:
        yield made


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    with table(tmp_path_factory.mktemp("many") / "timers.db", MANY) as made:
        yield made


def new(name: str, **fields: object) -> NewTimer:
    said = {"group_id": "g", "timer_id": name, "shard": shard_of(name, SHARDS), "callback_url": "http://a.example/"}
    return NewTimer(**(said | {"fingerprint": name.encode(), "delay": SECOND} | fields))  # type: ignore[arg-type]


def take(table: Table) -> None:
    assert len(table.take().timers) == 100


def settle(kind: OutcomeKind) -> Callable[[Table], None]:
    return lambda table: table.settle(table.take(), kind)


def create(table: Table) -> None:
    table.run += 1
    timers = [new(f"new-{table.run}-{number}") for number in range(100)]
    creates.create(table.transaction, [(timers, IfExists.FAIL), (timers, IfExists.KEEP)])


def sweep(table: Table) -> None:
    table.take()
    swept = sweeps.sweep(table.transaction, table.claims, "me", frozenset(), -SECOND, 100, None)
    assert sum(swept.recovered.values()) == 100


def purge(table: Table) -> None:
    assert writes.purge(table.transaction, "g", timedelta(0), timedelta(0), 50) == 50
    assert writes.purge(table.transaction, "g", timedelta(days=999), timedelta(0), 50) == 50


def pages(where: TimerFilter) -> Callable[[Table], None]:
    """The first page and the second one."""

    def read(table: Table) -> None:
        end = table.page(where)
        assert end is not None
        table.page(where, end)

    return read


def due_range(table: Table) -> None:
    now = table.transaction.now
    end = table.page(TimerFilter(due_from=now - timedelta(hours=1), due_before=now + timedelta(days=2)))
    table.page(TimerFilter(due_from=now - timedelta(hours=1), due_before=now + timedelta(days=2)), end)


def failed_before(table: Table) -> None:
    states = frozenset({TimerState.FAILED})
    end = table.page(TimerFilter(states=states, executed_before=table.transaction.now))
    table.page(TimerFilter(states=states, executed_before=table.transaction.now), end)


def running(table: Table) -> None:
    taken = table.take()
    table.page(TimerFilter(states=frozenset({TimerState.RUNNING})))
    table.settle(taken, OutcomeKind.DEFERRED)


FLAT: dict[str, Callable[[Table], None]] = {
    "take": take,
    **{f"settle {kind}": settle(kind) for kind in OutcomeKind},
    "create": create,
    "sweep": sweep,
    "purge": purge,
    "list": pages(TimerFilter()),
    "list by prefix": pages(TimerFilter(id_prefix="0")),
    "list pending": pages(TimerFilter(states=frozenset({TimerState.PENDING}))),
    "list finished": pages(TimerFilter(states=frozenset({TimerState.COMPLETED, TimerState.FAILED}))),
    "list by label": pages(TimerFilter(labels=(("all", "yes"),))),
    "list due range": due_range,
    "list failed before": failed_before,
    "list running": running,
}


@pytest.mark.parametrize("name", FLAT)
def test_the_work_is_the_same_whatever_is_there(few: Table, many: Table, name: str) -> None:
    with few.watched() as little:
        FLAT[name](few)
    with many.watched() as much:
        FLAT[name](many)
    assert much.steps < little.steps * 1.2 + 10


@pytest.mark.parametrize("name", FLAT)
def test_no_table_is_scanned_and_no_backlog_sorted(many: Table, name: str) -> None:
    with many.watched() as work:
        FLAT[name](many)
    assert work.plans
    assert not [plan for plan in work.plans if plan.startswith(("SCAN timers", "SCAN timer_shards"))]
    sorts = [plan for plan in work.plans if "TEMP B-TREE" in plan]
    assert not sorts or name == "list running"  # at most what is in flight


def test_takes_and_next_due_go_by_the_due_index(many: Table) -> None:
    with many.watched() as work:
        take(many)
    through = [plan for plan in work.plans if "SEARCH timers USING INDEX" in plan]
    assert through
    assert all("timers_due (group_id=? AND shard=?" in plan for plan in through)


def test_counts_are_bounded(few: Table, many: Table) -> None:
    connection, now = many.transaction.connection, many.transaction.now
    with many.watched() as work:
        counted = counts.counts(connection, "g", now)
    assert counted.estimated >= {"pending", "completed", "failed", "due"}
    for estimate in (counted.completed, counted.failed):
        assert estimate == pytest.approx(MANY / 4, rel=0.2)
    assert counted.pending == pytest.approx(MANY / 2, rel=0.2)
    assert counted.due == pytest.approx(MANY / 4, rel=0.2)
    assert counted.oldest_due_at is not None
    assert work.steps * STEP < 10_000_000
    exact = counts.counts(few.transaction.connection, "g", few.transaction.now)
    assert not exact.estimated


def test_idle_shards_cost_a_probe_each(tmp_path: Path) -> None:
    with table(tmp_path / "timers.db", 1_000, shards=3_200) as wide:
        wide.settle(wide.take(1_000, shards=3_200), OutcomeKind.COMPLETED)
        with wide.watched() as work:
            assert wide.take(1_000, shards=3_200).timers == []
        assert work.steps * STEP < 3_200 * 250
        with wide.watched() as one:
            assert wide.take(1_000, shards=1).timers == []
        assert one.steps * STEP < 1_000


def test_a_late_page_costs_as_much_as_the_first(many: Table) -> None:
    where = TimerFilter(due_from=many.transaction.now - timedelta(hours=1))
    with many.watched() as first:
        end = many.page(where)
    for _ in range(40):
        end = many.page(where, end)
    with many.watched() as late:
        many.page(where, end)
    assert late.steps < first.steps * 1.2 + 10
