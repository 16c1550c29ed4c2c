"""`make run`: the whole service on this machine, a receiver, and a few timers to watch."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop
from aiohttp import web

from durable_timer.config import Settings, load
from durable_timer.config.sources import variable
from durable_timer.errors import ConfigError, DurableTimerError
from durable_timer.logs import configure, masked
from durable_timer.service import Role, serve

FOLDER: Final = Path(".demo")
"""Where the demo keeps its database; ignored by git."""

MANIFEST: Final = Path("examples/timergroup.yaml")
GROUP: Final = "demo"
RECEIVER_PORT: Final = 8081
"""The receiver's port, where it is free: what an earlier demo left undelivered finds it again."""

FLAKY: Final = "retried"
TIMERS: Final[dict[str, dict[str, Any]]] = {
    "hello": {"delay": "1s", "payload": {"message": "Hello, a second after I was made"}},
    "soon": {"delay": "2s500ms", "payload": {"message": "Two and a half seconds"}},
    FLAKY: {
        "delay": "3s",
        "payload": {"message": "The receiver answered 503 first"},
        "retryPolicy": {"initialInterval": "1s"},
    },
    "raw": {"delay": "4s", "callbackFormat": "Raw", "payload": {"message": "The payload alone, ids in headers"}},
    "past": {"executeAt": "2020-01-01T00:00:00Z", "payload": {"message": "Long past: fires at once"}},
    "every-minute": {"schedule": {"cron": "* * * * *"}, "payload": {"message": "At each full minute"}},
}
"""What is created, by id."""

ONE_SHOTS: Final = len(TIMERS) - 1
READY_WITHIN: Final = 20.0
CURL_AFTER: Final = 15.0


@dataclass(slots=True)
class Receiver:
    """Prints each callback as it arrives; answers the first of `retried` with 503."""

    port: int = 0
    delivered: set[str] = field(default_factory=set)
    all_delivered: asyncio.Event = field(default_factory=asyncio.Event)
    _refused: bool = False

    async def handle(self, request: web.Request) -> web.Response:
        """Any request is a callback."""
        arrived = datetime.now(UTC)
        body: Any = json.loads(await request.read() or b"null")
        header = request.headers.get
        if "durable-timer-timer-id" in request.headers:
            timer_id, due = header("durable-timer-timer-id", ""), header("durable-timer-execute-at", "")
            attempt, payload = header("durable-timer-attempt", "1"), body
        else:
            timer_id, due, attempt, payload = (body[key] for key in ("timerId", "executeAt", "attempt", "payload"))
        if timer_id == FLAKY and not self._refused:
            self._refused = True
            _say(arrived, timer_id, "answered 503", payload)
            return web.Response(status=503)
        late = (arrived - datetime.fromisoformat(due)).total_seconds()
        _say(arrived, timer_id, _lateness(timer_id, late, int(attempt)), payload)
        self.delivered.add(timer_id)
        if self.delivered >= TIMERS.keys() - {"every-minute"}:
            self.all_delivered.set()
        return web.Response()


def _lateness(timer_id: str, late: float, attempt: int) -> str:
    if attempt > 1:
        return f"attempt {attempt}"
    if timer_id == "past":
        return "at once"
    return f"{late * 1000:.1f} ms late"


def _say(at: datetime, timer_id: str, how: str, payload: object) -> None:
    message = payload.get("message") if isinstance(payload, dict) else None
    text = message if isinstance(message, str) else json.dumps(payload)
    print(f"  {at.astimezone():%H:%M:%S}.{at.microsecond // 1000:03d}  {timer_id:<14.36} {how:>14}  {text}", flush=True)


async def run(settings: Settings) -> None:
    """Serves until Ctrl-C, with the receiver beside it.

    Raises:
        DurableTimerError: The service cannot start.
    """
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group, _receiving() as receiver:
        service = group.create_task(serve(settings, Role.STANDALONE, stop))
        others = [
            group.create_task(_show(f"http://{settings.listen}", settings, receiver)),
            group.create_task(_say_stopping(stop)),
        ]
        await service
        for task in others:
            task.cancel()
    print("Stopped. Timers that are not due yet wait for the next `make run`.")


async def _say_stopping(stop: asyncio.Event) -> None:
    await stop.wait()
    print("\nStopping: callbacks under way end first; Ctrl-C again ends it at once.", flush=True)


@asynccontextmanager
async def _receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.SockSite(runner, _free_socket())
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


def _free_socket() -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", RECEIVER_PORT))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    return listener


async def _show(url: str, settings: Settings, receiver: Receiver) -> None:
    timers = f"{url}/api/v1/groups/{GROUP}/timers"
    callback_url = f"http://127.0.0.1:{receiver.port}/"
    async with aiohttp.ClientSession() as session:
        await _ready(session, url)
        print(f"\nDurable Timer serves group {GROUP!r} at {url}  (store: {masked(settings.store)})")
        print(f"  contract {url}/api.yaml   docs {url}/docs   metrics {url}/metrics\n")
        print(f"{len(TIMERS)} timers are created by POST {timers}; their callbacks arrive here:", flush=True)
        for timer_id, timer in TIMERS.items():
            body = {"id": timer_id, "callbackUrl": callback_url} | timer
            async with session.post(timers, params={"ifExists": "replace"}, json=body) as answer:
                if not answer.ok:
                    print(f"  {timer_id}: {answer.status} {await answer.text()}")
    try:
        async with asyncio.timeout(CURL_AFTER):
            await receiver.all_delivered.wait()
    except TimeoutError:
        pass
    example = json.dumps({"delay": "5s", "callbackUrl": callback_url, "payload": {"message": "made by hand"}})
    print("\nMake another one, due in five seconds:\n")
    print(f"  curl -sS {timers} \\\n    -H 'content-type: application/json' \\\n    -d '{example}'\n")
    print("The service runs until Ctrl-C.\n", flush=True)


async def _ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(READY_WITHIN):
        while True:
            try:
                async with session.get(f"{url}/readyz") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.02)


def _settings() -> Settings:
    """The demo's settings; those in the environment win."""
    if not MANIFEST.exists():
        raise ConfigError(f"{MANIFEST} is not here: run the demo from the folder of the checkout")
    chosen = {
        "store": f"sqlite:///{FOLDER}/demo.sqlite",
        "groups": str(MANIFEST),
        "engine.deny_private_targets": "false",
        "log.level": "warning",
    }
    settings = load(None, {name: value for name, value in chosen.items() if variable(name) not in os.environ})
    if settings.store == chosen["store"]:
        FOLDER.mkdir(exist_ok=True)
    return settings


def main() -> None:
    """Runs the demo; a start that fails is one line on stderr and exit code 2."""
    try:
        settings = _settings()
        configure(settings.log.format, settings.log.level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings))
    except* DurableTimerError as errors:
        for error in errors.exceptions:
            print(f"durable-timer: {masked(str(error))}", file=sys.stderr)
        print(f"(another address: {variable('listen')}=127.0.0.1:8090 make run)", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
