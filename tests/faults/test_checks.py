"""The checks find what they are there for: each violation is planted in an account that is clean without it."""

from dataclasses import replace
from pathlib import Path

import pytest

from faults.chapters import PODS, PROCESSES
from faults.checks import FIRES_AGAIN_WITHIN, PLANNED_WITHIN, Fault, Measured, Verdict, judge, shard_of
from faults.ledger import Callback, Change, Entry, Kind, Ledger, Result, seconds, text
from faults.report import Results, figures, page, timeline
from faults.scene import Played

BEGIN = 1_800_000_000.0
"""A full minute."""

UNTIL = BEGIN + 30
FAULT = Fault(begun=BEGIN + 10, ended=BEGIN + 16, in_flight=frozenset({"single-100.1"}), taken_over=True)


def callback(entry: Entry, at: float | None = None, **changed: object) -> Callback:
    one = Callback(
        at=entry.due + 0.002 if at is None else at,
        id=entry.id,
        occurrence=f"{entry.id}.1",
        due=entry.due,
        attempt=1,
        status=200,
    )
    return replace(one, **changed)  # type: ignore[arg-type]


class Account:
    """A ledger and callbacks in which all promises hold; a test breaks one."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.callbacks: list[Callback] = []
        self.fault = FAULT
        for number in range(3000):
            self.add(Kind.SINGLE, number, BEGIN + number / 100)

    def add(self, kind: Kind, number: int, due: float, *, delivered: bool = True) -> Entry:
        entry = self.ledger.open(kind, number, due)
        entry.acknowledged = due - 1
        if delivered:
            self.callbacks.append(callback(entry))
        return entry

    def drop(self, timer_id: str) -> None:
        self.callbacks = [one for one in self.callbacks if one.id != timer_id]

    def judge(self) -> Verdict:
        return judge(self.ledger, self.callbacks, self.fault, UNTIL)


@pytest.fixture
def account() -> Account:
    return Account()


def test_a_clean_account_is_clean(account: Account) -> None:
    verdict = account.judge()
    assert verdict.complaints == ()
    assert (verdict.timers, verdict.callbacks, verdict.duplicates, verdict.uncertain) == (3000, 3000, 0, 0)
    assert 0 < verdict.gap < 2


def test_an_acknowledged_timer_that_never_came_is_lost(account: Account) -> None:
    account.drop("single-7")
    assert [what.split(",")[0] for what in account.judge().lost] == ["single-7"]


def test_one_that_was_never_acknowledged_may_come_or_not(account: Account) -> None:
    account.ledger.entries["single-7"].acknowledged = None
    account.ledger.entries["single-8"].acknowledged = None
    account.drop("single-7")
    verdict = account.judge()
    assert (verdict.complaints, verdict.uncertain, verdict.timers) == ((), 2, 2998)


def test_an_answer_without_success_is_no_delivery(account: Account) -> None:
    entry = account.add(Kind.RETRY, 1, BEGIN + 5, delivered=False)
    refused = callback(entry, status=503)
    account.callbacks.append(refused)
    assert len(account.judge().lost) == 1
    account.callbacks.append(replace(refused, at=refused.at + 1, attempt=2, status=200))
    assert account.judge().complaints == ()


def test_a_callback_before_its_time_is_early(account: Account) -> None:
    account.callbacks[5] = replace(account.callbacks[5], at=account.callbacks[5].due - 0.0001)
    assert [what.split(" ")[0] for what in account.judge().early] == ["single-5"]


@pytest.mark.parametrize(
    ("result", "after", "lost", "cancelled"),
    [
        pytest.param(Result.DONE, None, 0, 0, id="done, never came"),
        pytest.param(Result.DONE, -0.1, 0, 0, id="done, had come before"),
        pytest.param(Result.DONE, 0.1, 0, 1, id="done, and came after all"),
        pytest.param(Result.REFUSED, None, 1, 0, id="refused, and never came"),
        pytest.param(Result.REFUSED, 0.1, 0, 0, id="refused, and came"),
        pytest.param(Result.UNKNOWN, None, 0, 0, id="unknown, never came"),
        pytest.param(Result.UNKNOWN, 0.1, 0, 0, id="unknown, and came"),
    ],
)
def test_cancels(account: Account, result: Result, after: float | None, lost: int, cancelled: int) -> None:
    entry = account.add(Kind.CANCEL, 1, BEGIN + 5, delivered=False)
    entry.change = Change(None, result, BEGIN + 5.5)
    if after is not None:
        account.callbacks.append(callback(entry, BEGIN + 5.5 + after))
    verdict = account.judge()
    assert (len(verdict.lost), len(verdict.cancelled)) == (lost, cancelled)
    assert verdict.uncertain == (result is Result.UNKNOWN)


@pytest.mark.parametrize(
    ("result", "came", "lost", "cancelled"),
    [
        pytest.param(Result.DONE, {"new"}, 0, 0, id="done, came at the new time"),
        pytest.param(Result.DONE, {"old"}, 1, 1, id="done, came at the old time"),
        pytest.param(Result.DONE, {"old", "new"}, 0, 1, id="done, came at both"),
        pytest.param(Result.REFUSED, {"old"}, 0, 0, id="refused, came at the old time"),
        pytest.param(Result.REFUSED, {"new"}, 1, 0, id="refused, came at the new time alone"),
        pytest.param(Result.UNKNOWN, {"new"}, 0, 0, id="unknown, came at one"),
        pytest.param(Result.UNKNOWN, set(), 1, 0, id="unknown, came at none"),
    ],
)
def test_changes_of_time(account: Account, result: Result, came: set[str], lost: int, cancelled: int) -> None:
    entry = account.add(Kind.REPLACE, 1, BEGIN + 5, delivered=False)
    entry.change = Change(BEGIN + 7, result, BEGIN + 4.5)
    if "old" in came:
        account.callbacks.append(callback(entry))
    if "new" in came:
        account.callbacks.append(callback(entry, BEGIN + 7.1, due=BEGIN + 7, occurrence="replace-1.2"))
    verdict = account.judge()
    assert (len(verdict.lost), len(verdict.cancelled)) == (lost, cancelled)


def test_a_chain_goes_on_until_it_is_ended(account: Account) -> None:
    entry = account.add(Kind.CHAIN, 1, BEGIN + 5, delivered=False)
    account.callbacks.append(callback(entry, asked=BEGIN + 6.1))
    assert len(account.judge().lost) == 1
    account.callbacks.append(callback(entry, BEGIN + 6.2, due=BEGIN + 6.1, occurrence="chain-1.2"))
    assert account.judge().complaints == ()


@pytest.mark.parametrize(
    ("due", "occurrence"),
    [
        pytest.param(BEGIN + 7.5, "chain-1.2", id="sooner than asked, and said to be due then"),
        pytest.param(BEGIN + 8.000001, "chain-1.2", id="later than asked"),
        pytest.param(BEGIN + 8, "chain-1.3", id="one left out"),
    ],
)
def test_a_chain_comes_at_the_time_that_the_answer_before_named(account: Account, due: float, occurrence: str) -> None:
    entry = account.add(Kind.CHAIN, 1, BEGIN + 5, delivered=False)
    account.callbacks.append(callback(entry, asked=BEGIN + 8))
    account.callbacks.append(callback(entry, due + 0.1, due=due, occurrence=occurrence))
    assert [what.partition(",")[0] for what in account.judge().astray] == ["chain-1"]


@pytest.mark.parametrize(("due", "astray"), [(5.9, 1), (6.1, 0), (6.3, 0), (7.1, 1)])
def test_a_chain_that_asks_for_too_soon_a_time_comes_a_second_after_its_answer_was_read(
    account: Account, due: float, astray: int
) -> None:
    entry = account.add(Kind.CHAIN, 1, BEGIN + 5, delivered=False)
    account.callbacks.append(callback(entry, asked=BEGIN + 6.1))
    account.callbacks.append(callback(entry, BEGIN + due + 0.1, due=BEGIN + due, occurrence="chain-1.2"))
    assert len(account.judge().astray) == astray


def test_a_chain_delivered_twice_may_follow_either_answer(account: Account) -> None:
    entry = account.add(Kind.CHAIN, 1, BEGIN + 5, delivered=False)
    account.fault = replace(FAULT, in_flight=frozenset({"chain-1.1"}))
    account.callbacks.append(callback(entry, asked=BEGIN + 6.1))
    account.callbacks.append(callback(entry, BEGIN + 8, asked=BEGIN + 9.1))
    account.callbacks.append(callback(entry, BEGIN + 9.2, due=BEGIN + 9.1, occurrence="chain-1.2"))
    assert account.judge().complaints == ()


def test_a_chain_begins_when_it_was_created_for(account: Account) -> None:
    entry = account.add(Kind.CHAIN, 1, BEGIN + 5, delivered=False)
    account.callbacks.append(callback(entry, BEGIN + 5.1, due=BEGIN + 4.5))
    assert len(account.judge().astray) == 1


def test_a_schedule_owes_each_full_minute(account: Account) -> None:
    entry = account.add(Kind.SCHEDULE, 1, BEGIN - 3, delivered=False)
    assert [what.split(" ")[-1] for what in account.judge().lost] == [f"{BEGIN:.6f}"]
    account.callbacks.append(callback(entry, BEGIN + 0.1, due=BEGIN))
    assert account.judge().complaints == ()
    assert account.judge().schedules == 1
    account.callbacks.append(callback(entry, BEGIN + 7.1, due=BEGIN + 7, occurrence="schedule-1.2"))
    assert len(account.judge().astray) == 1


@pytest.mark.parametrize(("after", "early"), [(0.09, 1), (0.11, 0)])
def test_a_retry_keeps_its_distance(account: Account, after: float, early: int) -> None:
    entry = account.add(Kind.RETRY, 1, BEGIN + 5, delivered=False)
    refused = callback(entry, status=503)
    account.callbacks.append(refused)
    account.callbacks.append(replace(refused, at=refused.at + after, attempt=2, status=200))
    assert len(account.judge().early) == early


def test_a_second_delivery_is_excused_by_a_refusal_or_by_having_been_in_flight(account: Account) -> None:
    in_flight, other = account.callbacks[100], account.callbacks[101]
    account.callbacks.append(replace(in_flight, at=in_flight.at + 3))
    verdict = account.judge()
    assert (verdict.duplicates, verdict.unexcused) == (1, ())
    account.callbacks.append(replace(other, at=other.at + 3))
    verdict = account.judge()
    assert (verdict.duplicates, len(verdict.unexcused)) == (2, 1)
    account.callbacks[101] = replace(other, status=503)
    assert account.judge().complaints == ()


def test_one_that_was_in_flight_may_come_twice_and_not_three_times(account: Account) -> None:
    one = account.callbacks[100]
    account.callbacks += [replace(one, at=one.at + 3), replace(one, at=one.at + 4)]
    verdict = account.judge()
    assert (verdict.in_flight, verdict.duplicates) == (1, 2)
    assert verdict.unexcused == (f"single-100 at {one.at + 4:.3f}",)


def test_another_occurrence_of_what_was_in_flight_may_not_come_twice(account: Account) -> None:
    entry = account.add(Kind.CHAIN, 1, BEGIN + 9, delivered=False)
    account.fault = replace(FAULT, in_flight=frozenset({"chain-1.1"}))
    account.callbacks.append(callback(entry, asked=BEGIN + 10.1))
    second = callback(entry, BEGIN + 10.2, due=BEGIN + 10.1, occurrence="chain-1.2")
    account.callbacks += [second, replace(second, at=second.at + 3)]
    assert len(account.judge().unexcused) == 1


def test_where_no_executor_died_every_duplicate_is_one_too_many(account: Account) -> None:
    account.fault = replace(FAULT, in_flight=frozenset())
    one = account.callbacks[100]
    account.callbacks.append(replace(one, at=one.at + 3))
    assert len(account.judge().unexcused) == 1


@pytest.mark.parametrize(
    ("fault", "allowed"),
    [
        pytest.param(FAULT, 2 + FIRES_AGAIN_WITHIN, id="from when others may take over"),
        pytest.param(replace(FAULT, taken_over=False), 6 + FIRES_AGAIN_WITHIN, id="from the end"),
        pytest.param(replace(FAULT, ended=FAULT.begun, within=PLANNED_WITHIN), PLANNED_WITHIN, id="planned"),
    ],
)
def test_a_shard_that_stays_silent_is_found(account: Account, fault: Fault, allowed: float) -> None:
    account.fault = fault
    silent = shard_of("single-1000")

    def come_again(after: float) -> tuple[str, ...]:
        found = [
            replace(one, at=max(one.at, fault.begun + after))
            if shard_of(one.id) == silent and one.due > fault.begun
            else one
            for one in account.callbacks
        ]
        return judge(account.ledger, found, fault, UNTIL).late

    assert come_again(allowed - 0.1) == ()
    assert [what.split(" for")[0] for what in come_again(allowed + 0.1)] == [f"shard {silent}"]


def test_the_slowest_timer_is_measured_from_when_it_could_come(account: Account) -> None:
    account.fault = replace(FAULT, taken_over=False)
    assert account.judge().slowest == pytest.approx(0.002, abs=1e-5)
    late = account.add(Kind.SINGLE, 9000, BEGIN + 12, delivered=False)
    account.callbacks.append(callback(late, FAULT.ended + 4))
    assert account.judge().slowest == pytest.approx(4)
    assert [what.split(" ")[:3] for what in account.judge().slow] == [["single-9000", "by", "4.00"]]
    late.acknowledged = FAULT.ended + 3
    assert account.judge().slowest == pytest.approx(1)
    assert account.judge().slow == ()
    changed = account.add(Kind.REPLACE, 1, BEGIN + 12, delivered=False)
    changed.change = Change(BEGIN + 18, Result.DONE, BEGIN + 20)
    account.callbacks.append(callback(changed, BEGIN + 22, due=BEGIN + 18))
    assert account.judge().slowest == pytest.approx(2)


def test_an_answer_that_must_not_come_is_a_complaint(account: Account) -> None:
    account.ledger.wrong.append("single-1: 404")
    assert account.judge().complaints == ("wrong answer: single-1: 404",)


def test_the_page_shows_what_was_found(account: Account) -> None:
    one = account.callbacks[100]
    account.callbacks.append(replace(one, at=one.at + 3))
    account.drop("single-7")
    played = Played(account.fault, account.ledger, account.callbacks, account.judge(), 0)
    where = {"cores": 2, "processor": "a processor", "memory_gib": 4.0, "kernel": "6"}
    head = {"date": "2026-01-01 00:00", "machine": where, "versions": {"python": "3.11", "commit": "abc"}}
    skipped = {**head, "about": "another", "skipped": "no disk"}
    written = page(
        {PROCESSES: {"one": {**head, "about": "a fault", **figures(played)}, "two": skipped}, PODS: {}}, "faults"
    )
    assert "| **a fault** | abc | 3,000 | 0 | **1** | 0 | 0 | 0 | 1 (1) |" in written
    assert "| another | abc | skipped: no disk |" in written
    assert "single-7" in written
    assert "(faults/one.svg)" in written
    assert "(faults/two.svg)" not in written


def test_a_timeline_counts_what_was_due_and_what_came(account: Account) -> None:
    one = account.callbacks[1000]
    account.callbacks.append(replace(one, at=one.at + 3))
    lines = timeline("a fault", Played(account.fault, account.ledger, account.callbacks, account.judge(), 0)).lines
    counts = {name: dict(points) for name, points in lines.items()}
    assert (counts["due"][2.0], counts["callbacks"][2.0]) == (10, 10)
    assert (counts["due"][3.0], counts["callbacks"][3.0]) == (10, 11)


def test_times_survive_the_wire() -> None:
    assert seconds(text(1_800_000_000.123457)) == 1_800_000_000.123457


def test_what_else_a_fault_measured_is_held_against_its_bound(account: Account) -> None:
    account.fault = replace(FAULT, measured=(Measured("a new leader", 12.0, 15.0), Measured("the end", 61.0, 60.0)))
    verdict = account.judge()
    assert verdict.complaints == ("slow: the end after 61.0 s, not 60 s",)
    found = figures(Played(account.fault, account.ledger, account.callbacks, verdict, 0))
    head = {"date": "2026-01-01 00:00", "machine": {"cores": 2, "processor": "a", "memory_gib": 4.0, "kernel": "6"}}
    one = {**head, "versions": {"python": "3.11", "commit": "abc"}, "about": "a fault", **found}
    assert "| **a fault**; a new leader after 12.0 s; the end after 61.0 s |" in page({PODS: {"one": one}}, "faults")


def test_each_command_rewrites_its_own_rows_alone(account: Account, tmp_path: Path) -> None:
    played = Played(account.fault, account.ledger, account.callbacks, account.judge(), 0)
    processes = Results(tmp_path / "faults", tmp_path / "faults.md", PROCESSES, ["b", "a"])
    pods = replace(processes, chapter=PODS)
    for name in ("a", "b"):
        processes.add(name, f"fault {name}", played)
        pods.skipped(name, f"pod {name}", "no cluster")
    before = (processes.folder / "results.json").read_bytes()
    pods.add("a", "pod a again", played)
    pods.write()
    assert (processes.folder / "results.json").read_bytes() == before
    text = pods.page.read_text()
    places = [text.index(f"| {what}") for what in ("fault b", "fault a", "pod b", "pod a again")]
    assert places == sorted(places)
    assert "(faults/pod_a.svg)" in text
    assert "(faults/a.svg)" in text
