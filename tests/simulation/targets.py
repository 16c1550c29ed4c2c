"""Simulated targets, and the deliverer through which a process reaches them."""

import asyncio
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import orjson

from durable_timer.engine.delivery import CallbackRequest
from durable_timer.planning.answers import Answer, BodyEnd, NoAnswer, SendError
from tests.simulation.clocks import StoreClock
from tests.simulation.history import History, Reply, Send
from tests.simulation.loop import Process

PROMPT: Final = frozenset({"ok.test", "fine.test"})
"""Hosts that answer within 60 ms, with success: whatever is late for them is late by the service's fault."""


@dataclass(slots=True)
class _Reaction:
    """What a target is going to do: after `after` seconds answer so; None never ends."""

    after: float | None
    answer: Reply
    wire: Answer | NoAnswer
    next_at: datetime | None = None


@dataclass(slots=True)
class Targets:
    """All targets of a simulation, by host. They remember how often they saw an occurrence or a timer."""

    clock: StoreClock
    rng: random.Random
    seen: dict[tuple[str, int], int] = field(default_factory=dict)

    def react(self, host: str, send: Send) -> _Reaction:
        """Decides what the host does about a callback."""
        times = self.seen[host, send.uid] = self.seen.get((host, send.uid), 0) + 1
        reaction: _Reaction = getattr(self, f"_{host.partition('.')[0]}")(times)
        return reaction

    def _done(self, after: float) -> _Reaction:
        return _Reaction(after, Reply.DONE, Answer(200, b'{"ok": true}'))

    def _failed(self, after: float, status: int, retry_after: str | None = None) -> _Reaction:
        return _Reaction(after, Reply.FAILED, Answer(status, retry_after=retry_after))

    def _ok(self, times: int) -> _Reaction:
        return self._done(0.002 + 0.05 * self.rng.random())

    _fine = _ok

    def _slow(self, times: int) -> _Reaction:
        return self._done(self.rng.uniform(0.5, 6.0))

    def _edge(self, times: int) -> _Reaction:
        """Answers about when the timer's own timeout of 2 s ends."""
        return self._done(self.rng.uniform(1.5, 2.4))

    def _hanging(self, times: int) -> _Reaction:
        return _Reaction(None, Reply.TIMEOUT, NoAnswer(SendError.TIMEOUT))

    def _dead(self, times: int) -> _Reaction:
        return _Reaction(
            self.rng.choice((0.001, 0.01, 1.0)),
            Reply.FAILED,
            NoAnswer(SendError.NO_CONNECTION, "refused"),
        )

    def _erring(self, times: int) -> _Reaction:
        after = 0.002 + 0.1 * self.rng.random()
        if times > 3 or self.rng.random() < 0.4:
            return self._done(after)
        if self.rng.random() < 0.3:
            return _Reaction(after, Reply.FAILED, Answer(200, b"{", BodyEnd.BROKEN_OFF))
        return self._failed(after, self.rng.choice((500, 502, 503, 408)))

    def _again(self, times: int) -> _Reaction:
        """Asks for new occurrences, three times, at times of its own choice."""
        after = 0.002 + 0.05 * self.rng.random()
        if times > 3:
            return self._done(after)
        at = self.clock.now() + timedelta(seconds=round(self.rng.uniform(1.5, 6.0), 3))
        body = orjson.dumps({"ok": False, "nextExecuteAt": at.isoformat()})
        return _Reaction(after, Reply.AGAIN, Answer(200, body), at)

    def _notyet(self, times: int) -> _Reaction:
        after = 0.002 + 0.05 * self.rng.random()
        if times > 2:
            return self._done(after)
        return _Reaction(after, Reply.FAILED, Answer(200, b'{"ok": false}'))

    def _later(self, times: int) -> _Reaction:
        after = 0.002 + 0.05 * self.rng.random()
        return self._done(after) if times > 2 else self._failed(after, 429, str(self.rng.randint(1, 3)))

    def _gone(self, times: int) -> _Reaction:
        return _Reaction(0.01, Reply.REFUSED, Answer(410))

    def _rejecting(self, times: int) -> _Reaction:
        return _Reaction(0.01, Reply.REFUSED, Answer(404))


class SimDeliverer:
    """One process's `engine.delivery.Deliverer`: bytes leave at the call, and the instant is written down."""

    def __init__(self, process: Process, targets: Targets, history: History) -> None:
        self._process = process
        self._targets = targets
        self._history = history

    async def send(self, request: CallbackRequest) -> Answer | NoAnswer:
        history = self._history
        send = self._record(request)
        reaction = self._targets.react(send.host, send)
        if reaction.after is None or reaction.after >= request.timeout:
            await asyncio.sleep(request.timeout)
            send.answer = Reply.TIMEOUT
            answer: Answer | NoAnswer = NoAnswer(SendError.TIMEOUT)
        else:
            await asyncio.sleep(reaction.after)
            send.answer, answer = reaction.answer, reaction.wire
            send.next_at = reaction.next_at
        send.ended = history.loop.time()
        history.line(self._process.name, f"answer {send.timer_id} occurrence={send.occurrence} {send.answer}")
        return answer

    async def close(self) -> None:
        """Nothing is kept open."""

    def _record(self, request: CallbackRequest) -> Send:
        history = self._history
        headers = {name.lower(): value for name, value in request.headers}
        uid, _, occurrence = headers["webhook-id"].partition(".")
        body = orjson.loads(request.body)
        number = int.from_bytes(bytes.fromhex(uid), signed=True)
        send = Send(
            at=history.loop.time(),
            order=history.order(),
            process=self._process.name,
            group_id=body["groupId"],
            timer_id=body["timerId"],
            uid=number,
            occurrence=int(occurrence),
            attempt=body["attempt"],
            execute_at=datetime.fromisoformat(body["executeAt"]),
            host=urlsplit(request.url).hostname or "",
            timeout=request.timeout,
            take=history.last_take.get((self._process.name, number)),
        )
        history.sends.append(send)
        history.line(
            self._process.name, f"send {send.timer_id} occurrence={occurrence} attempt={send.attempt} to {send.host}"
        )
        return send


class NoSecrets:
    """`engine.delivery.Secrets` of a world without any."""

    async def read(self, namespace: str | None, name: str, key: str) -> bytes | None:
        return None


class NoTracer:
    """`engine.delivery.Tracer` that records nothing."""

    traceparent = "00-00000000000000000000000000000001-0000000000000001-00"

    def callback(self, traceparent: str | None, group_id: str, timer_id: str) -> "NoTracer":
        return self

    def end(self, error: str | None) -> None:
        """Nothing is recorded."""
