"""The client: 500 timers a second of all kinds, and a ledger of what was acknowledged."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from faults.ledger import Change, Entry, Kind, Ledger, Result, text
from faults.rest import Answer, Rest, session

GROUP: Final = "faults"
SECOND_PER_KIND: Final[Mapping[Kind, float]] = {
    Kind.SINGLE: 210,
    Kind.BATCH: 50,
    Kind.RETRY: 30,
    Kind.SLOW: 0,
    Kind.CANCEL: 40,
    Kind.REPLACE: 30,
}
"""New timers a second by kind. With those created beforehand, and the chains, 500 a second are due."""

BEFOREHAND: Final = 100
"""Timers a second that were created before the load begins: due whether bridges run or not."""

CHAINS: Final = 60
"""Half of them come each second, half each third one (`receiver`): 40 a second."""

SCHEDULES: Final = 40
BATCH: Final = 25
BATCH_MOST: Final = 500
AT_ONCE: Final = 400
"""Requests that may wait for an answer; what would be more is not asked for."""

TICK: Final = 0.02
LEAD: Final = (0.3, 3.0)
"""How many seconds ahead a timer is due when it is asked for."""

SOONER: Final = (1.5, 0.6, 0.2, 0.12, 0.05, 0.0, -0.05)
"""How many seconds before its time a timer is cancelled, or given another one."""

QUICK_RETRY: Final = {"initialInterval": "200ms", "maxInterval": "500ms"}
CREATED: Final = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})


@dataclass(frozen=True, slots=True)
class Targets:
    """Where callbacks go."""

    quick: str
    slow: str


class Load:
    """One run of the client, on the running loop: `begin`, `run` until told to `stop`, `end`."""

    def __init__(self, bridges: list[str], targets: Targets, ledger: Ledger, *, scale: float, slow: float) -> None:
        self._session = session()
        self._rest = Rest(bridges, GROUP, self._session)
        self._targets = targets
        self._ledger = ledger
        self._scale = scale
        self._rates = {**SECOND_PER_KIND, Kind.SLOW: slow}
        self._random = random.Random(6)
        self._numbers = dict.fromkeys(Kind, 0)
        self._asking: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def begin(self, lasts: float) -> None:
        """Creates what is due from now on for so many seconds, the chains and the schedules; returns when they are."""
        now = time.time()
        count = round(BEFOREHAND * self._scale * lasts)
        entries = [self._open(Kind.BATCH, now + 2.0 + lasts * place / count) for place in range(count)]
        pieces = [entries[first : first + BATCH_MOST] for first in range(0, count, BATCH_MOST)]
        chains = [self._open(Kind.CHAIN, now + 2.0 + self._random.random()) for _ in range(self._share(CHAINS))]
        schedules = [self._open(Kind.SCHEDULE, now) for _ in range(self._share(SCHEDULES))]
        await asyncio.gather(*map(self._batch, [*pieces, chains, schedules]))

    async def run(self) -> None:
        """Asks for new timers until `stop`; returns when every request was answered or given up."""
        owing = dict.fromkeys(self._rates, 0.0)
        async with asyncio.TaskGroup() as group:
            before = time.monotonic()
            while not self._stopping:
                await asyncio.sleep(TICK)
                now = time.monotonic()
                for kind, rate in self._rates.items():
                    owing[kind] = min(owing[kind] + rate * self._scale * (now - before), 2 * BATCH)
                    owing[kind] -= self._ask_for(group, kind, int(owing[kind]))
                before = now

    def stop(self) -> None:
        """Makes `run` end; callable from the loop alone."""
        self._stopping = True

    async def end(self) -> None:
        """Deletes the schedules, without a word in the ledger, and closes the connections."""
        ids = [entry.id for entry in self._ledger.entries.values() if entry.kind is Kind.SCHEDULE]
        await self._rest.ask("POST", ":cancel", {"ids": ids}, {"whenRunning": "stop"})
        await self._session.close()

    @property
    def unanswered(self) -> Mapping[str, int]:
        """Requests that had to be repeated so far."""
        return self._rest.unanswered

    def _ask_for(self, group: asyncio.TaskGroup, kind: Kind, count: int) -> int:
        """Begins to ask for so many timers of a kind; how many were begun, or dropped because too much is open."""
        if kind is Kind.BATCH:
            if count < BATCH:
                return 0
            self._begin(group, self._batch, lambda: [self._open(kind, self._soon()) for _ in range(BATCH)])
            return BATCH
        how = {Kind.CANCEL: self._cancelled, Kind.REPLACE: self._replaced}.get(kind, self._single)
        for _ in range(count):
            self._begin(group, how, lambda: self._open(kind, self._soon()))
        return count

    def _begin(
        self, group: asyncio.TaskGroup, how: Callable[[Any], Coroutine[Any, Any, None]], what: Callable[[], object]
    ) -> None:
        if len(self._asking) < AT_ONCE:
            task = group.create_task(how(what()))
            self._asking.add(task)
            task.add_done_callback(self._asking.discard)

    def _open(self, kind: Kind, due: float) -> Entry:
        self._numbers[kind] += 1
        return self._ledger.open(kind, self._numbers[kind], round(due, 6))

    def _soon(self) -> float:
        return time.time() + self._random.uniform(*LEAD)

    def _share(self, count: int) -> int:
        return max(2, round(count * self._scale))

    async def _batch(self, entries: list[Entry]) -> None:
        while True:
            answer = await self._rest.ask("POST", ":batch", {"timers": [self._body(entry) for entry in entries]})
            if answer is None:
                return
            if answer.status != HTTPStatus.OK:
                self._wrong(f"batch of {entries[0].id}", answer)
                return
            statuses = [result["status"] for result in answer.body["results"]]
            again = [entry for entry, status in zip(entries, statuses, strict=True) if status not in CREATED]
            for entry, status in zip(entries, statuses, strict=True):
                if status in CREATED:
                    entry.acknowledged = time.time()
                elif status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    self._ledger.wrong.append(f"{entry.id}: {status} in a batch")
                    again.remove(entry)
            if not again:
                return
            entries = again
            await asyncio.sleep(0.5)

    async def _single(self, entry: Entry) -> None:
        answer = await self._rest.ask("POST", "", self._body(entry))
        if answer is None:
            return
        if answer.status in CREATED:
            entry.acknowledged = time.time()
        else:
            self._wrong(entry.id, answer)

    async def _cancelled(self, entry: Entry) -> None:
        await self._single(entry)
        if entry.acknowledged is None:
            return
        await self._until_near(entry.due)
        asked = await self._rest.ask("DELETE", f"/{entry.id}")
        done = {HTTPStatus.NO_CONTENT} | ({HTTPStatus.NOT_FOUND} if asked and asked.doubtful else set())
        self._changed(entry, None, asked, done)

    async def _replaced(self, entry: Entry) -> None:
        """By PUT or by a create with `ifExists=replace`, in turn."""
        await self._single(entry)
        if entry.acknowledged is None:
            return
        await self._until_near(entry.due)
        due = round(max(entry.due, time.time()) + self._random.uniform(0.5, 2.0), 6)
        if self._random.random() < 0.5:
            asked = await self._rest.ask("PUT", f"/{entry.id}", {"executeAt": text(due)})
        else:
            body = self._body(entry) | {"executeAt": text(due)}
            asked = await self._rest.ask("POST", "", body, {"ifExists": "replace"})
        self._changed(entry, due, asked, CREATED)

    def _changed(
        self, entry: Entry, due: float | None, answer: Answer | None, done: set[HTTPStatus] | frozenset[HTTPStatus]
    ) -> None:
        if answer is None:
            result = Result.UNKNOWN
        elif answer.status in done:
            result = Result.DONE
        elif answer.status == HTTPStatus.CONFLICT and answer.body["code"] in {"TIMER_EXECUTING", "TIMER_FINISHED"}:
            result = Result.UNKNOWN if answer.doubtful else Result.REFUSED
        else:
            self._wrong(f"change of {entry.id}", answer)
            result = Result.UNKNOWN
        entry.change = Change(due, result, time.time())

    async def _until_near(self, due: float) -> None:
        await asyncio.sleep(max(0.0, due - self._random.choice(SOONER) - time.time()))

    def _body(self, entry: Entry) -> dict[str, object]:
        target = self._targets.slow if entry.kind is Kind.SLOW else self._targets.quick
        body: dict[str, object] = {"id": entry.id, "callbackUrl": f"{target}/", "payload": {"kind": entry.kind}}
        if entry.kind is Kind.SCHEDULE:
            return body | {"schedule": {"cron": "* * * * *"}}
        if entry.kind is Kind.RETRY:
            body["retryPolicy"] = QUICK_RETRY
        return body | {"executeAt": text(entry.due)}

    def _wrong(self, what: str, answer: Answer) -> None:
        self._ledger.wrong.append(f"{what}: {answer.status} {str(answer.body)[:300]}")
