"""The way from simulated processes to the one store: delays, lost requests, lost and late answers."""

import asyncio
import contextvars
import random
from collections.abc import Callable, Collection, Coroutine, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

from durable_timer.errors import StoreError, StoreUnavailable
from durable_timer.stores.base import Capabilities, Store, WakeListener
from durable_timer.stores.memory import MemoryDatabase, MemoryStore
from tests.simulation.loop import Process, VirtualLoop
from tests.simulation.observer import Observer
from tests.simulation.weather import Weather

CALL_TIMEOUT: Final = 2.0
"""After this the caller's driver gives up: `StoreUnavailable`, whatever became of the call."""
LAG: Final = (0.05, 0.45)
"""How much longer answers take for a process that lags."""
LAGGING: Final = 0.3
"""How many of its calls that concerns, beside its beats."""
WORLD: Final = contextvars.Context()


class _Wait:
    """Awaited inside the store: the call goes on `seconds` later."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __await__(self) -> Generator["_Wait", None, None]:
        yield self


class _Between:
    """The store's hooks: a take may wait between its look at the claims and its commit."""

    def __init__(self) -> None:
        self.seconds = 0.0

    async def before(self, name: str) -> None:
        if name == "take_due.commit" and self.seconds:
            seconds, self.seconds = self.seconds, 0.0
            await _Wait(seconds)

    async def after(self, name: str) -> None:
        pass


@dataclass(slots=True, eq=False)
class _Request:
    process: Process
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    sent: float
    back: float
    answer: asyncio.Future[Any]
    error_before: bool = False
    error_after: bool = False
    between: float = 0.0
    given_up: bool = False


@dataclass(slots=True, repr=False)
class Network:
    """Carries calls, and knows who is cut off. `calm` ends all weather."""

    loop: VirtualLoop
    database: MemoryDatabase
    observer: Observer
    rng: random.Random
    weather: Weather
    calm: bool = False
    cut: dict[str, int] = field(default_factory=dict)
    """Process name → in how many cuts it is at present."""
    lagging: dict[str, int] = field(default_factory=dict)
    """Process name → in how many lags it is at present."""
    outages: int = 0
    _next_loss: dict[str, float] = field(default_factory=dict)
    """Process name → when one of its calls may fail after its commit again."""
    _between: _Between = field(default_factory=_Between)
    _store: MemoryStore = field(init=False)

    def __post_init__(self) -> None:
        self._store = MemoryStore(self.database, hooks=self._between)

    def store_for(self, process: Process) -> Store:
        """The store as a process reaches it."""
        return cast("Store", RemoteStore(self, process))

    def is_cut(self, process: Process) -> bool:
        return not self.calm and (self.outages > 0 or self.cut.get(process.name, 0) > 0)

    async def call(self, process: Process, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        request = self._request(process, name, args, kwargs)
        try:
            return await request.answer
        except asyncio.CancelledError:
            request.given_up = True
            raise

    def _request(self, process: Process, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Request:
        random_, weather = self.rng.random, self.weather
        request = _Request(
            process,
            name,
            args,
            kwargs,
            self.loop.time(),
            0.0002 + 0.002 * random_(),
            self.loop.create_future(),
        )
        out = 0.0002 + 0.002 * random_()
        if not self.calm:
            if random_() < weather.slow:
                out += self._slowness()
            if random_() < weather.slow:
                request.back += self._slowness()
            if self.lagging.get(process.name, 0) and (name == "beat" or random_() < LAGGING):
                request.back += self.rng.uniform(*LAG)
            fate = random_()
            request.error_before = fate < weather.error_before
            if 1 - fate < weather.error_after and self.loop.time() >= self._next_loss.get(process.name, 0.0):
                request.error_after = True
                self._next_loss[process.name] = self.loop.time() + weather.loss_apart
            if name == "take_due" and random_() < weather.late_commit:
                request.between = min(self._slowness(), max(0.0, CALL_TIMEOUT - out))
        self.loop.call_exactly(out, self._arrive, request, context=WORLD)
        return request

    def _slowness(self) -> float:
        """Short ones are more common."""
        least, most = self.weather.slow_span
        return least + (most - least) * self.rng.random() ** 2

    def _arrive(self, request: _Request) -> None:
        if request.given_up and self.rng.random() < 0.5:
            return
        if request.error_before or self.is_cut(request.process):
            self._fail(request)
            return
        self._between.seconds = request.between
        work = getattr(self._store, request.name)(*request.args, **request.kwargs)
        self.observer.before(request.process, request.name, request.args)
        self._step(request, work)

    def _step(self, request: _Request, work: Coroutine[Any, Any, Any]) -> None:
        try:
            wait: _Wait = work.send(None)
        except StopIteration as stop:
            answer, error = stop.value, None
        except StoreError as raised:
            answer, error = None, raised
        else:
            self.loop.call_exactly(wait.seconds, self._step, request, work, context=WORLD)
            return
        if error is None:
            self.observer.committed(request.process, request.name, request.args, answer)
        if request.error_after:
            self._fail(request)
        elif self.loop.time() + request.back > request.sent + CALL_TIMEOUT:
            self._fail(request, late=True)
        else:
            self.loop.call_exactly(request.back, self._reply, request, answer, error, context=WORLD)

    def _reply(self, request: _Request, answer: object, error: StoreError | None) -> None:
        if self.is_cut(request.process):
            self._fail(request)
        elif not request.answer.done():
            if error is None:
                request.answer.set_result(answer)
            else:
                request.answer.set_exception(error)

    def _fail(self, request: _Request, *, late: bool = False) -> None:
        """The caller learns at once that the connection broke, or by its timeout that nothing came."""
        rest = max(0.0, request.sent + CALL_TIMEOUT - self.loop.time())
        if not late and self.rng.random() < 0.5:
            rest = min(rest, 0.01)
        self.loop.call_exactly(rest, self._broken, request, context=WORLD)

    def _broken(self, request: _Request) -> None:
        if not request.answer.done():
            request.answer.set_exception(StoreUnavailable(f"{request.name}: no answer"))


class RemoteStore:
    """One process's way to the store: every method of the contract is a call over the network."""

    def __init__(self, network: Network, process: Process) -> None:
        self._network = network
        self._process = process
        self._ends: list[Callable[[], None]] = []

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(name="simulated")

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        return partial(self._call, name)

    async def _call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        return await self._network.call(self._process, name, args, kwargs)

    async def close(self) -> None:
        """Nothing is kept open."""

    def listen(self, listener: WakeListener) -> Callable[[], None]:
        network = self._network

        def heard(group_id: str, shards: Collection[int]) -> None:
            if not network.is_cut(self._process):
                network.loop.call_exactly(0.0005 + 0.01 * network.rng.random(), listener, group_id, shards)

        return network.database.listen(heard)
