"""The table of states and operations, over REST and on every store; and the order in which errors are answered."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from durable_timer.models.group import GroupState
from durable_timer.models.timer import TimerState
from durable_timer.stores.base import Store
from tests.api.support import GROUP, HOOK, TIMERS, Executing, executing

PENDING, RUNNING, COMPLETED, FAILED = TimerState.PENDING, TimerState.RUNNING, TimerState.COMPLETED, TimerState.FAILED
STATES = (PENDING, RUNNING, COMPLETED, FAILED)
OTHER = {"executeAt": "2031-01-01T00:00:00Z", "callbackUrl": HOOK, "payload": "other"}

OPERATIONS: dict[str, tuple[str, str, dict[str, Any] | None]] = {
    "create, same": ("POST", "", {}),
    "create, other": ("POST", "", OTHER),
    "keep": ("POST", "?ifExists=keep", OTHER),
    "replace": ("POST", "?ifExists=replace", OTHER),
    "replace, same": ("POST", "?ifExists=replace", {}),
    "put": ("PUT", "/{id}", {"executeAt": "2031-01-01T00:00:00Z"}),
    "patch": ("PATCH", "/{id}", {"labels": {"a": "b"}}),
    "delete": ("DELETE", "/{id}", None),
    "stop": ("DELETE", "/{id}?whenRunning=stop", None),
    "run": ("POST", "/{id}:run", None),
    "redrive": ("POST", "/{id}:redrive", None),
    "cancel ids": ("POST", ":cancel", {"ids": ["{id}"]}),
    "redrive ids": ("POST", ":redrive", {"ids": ["{id}"]}),
}

EXECUTING, FINISHED = (409, "TIMER_EXECUTING"), (409, "TIMER_FINISHED")
EXISTS, NOT_FAILED = (409, "TIMER_EXISTS"), (409, "TIMER_NOT_FAILED")

TABLE: dict[str, tuple[object, object, object, object]] = {
    "create, same": (200, 200, 200, 200),
    "create, other": (EXISTS, EXISTS, EXISTS, EXISTS),
    "keep": (200, 200, 200, 200),
    "replace": (200, EXECUTING, 200, 200),
    "replace, same": (200, 200, 200, 200),
    "put": (200, EXECUTING, FINISHED, FINISHED),
    "patch": (200, EXECUTING, FINISHED, FINISHED),
    "delete": (204, EXECUTING, 204, 204),
    "stop": (204, 202, 204, 204),
    "run": (200, EXECUTING, FINISHED, FINISHED),
    "redrive": (NOT_FAILED, NOT_FAILED, NOT_FAILED, 200),
    "cancel ids": (204, EXECUTING, 204, 204),
    "redrive ids": (NOT_FAILED, NOT_FAILED, NOT_FAILED, 200),
}


@dataclass(slots=True)
class Asking:
    client: aiohttp.ClientSession
    executor: Executing

    async def brought(self, timer_id: str, state: TimerState) -> dict[str, Any]:
        """The create's body of a timer that is in that state now."""
        body: dict[str, Any] = {"id": timer_id, "callbackUrl": HOOK}
        body |= {"executeAt": "2030-01-01T00:00:00Z"} if state is PENDING else {"delay": "0s"}
        async with self.client.post(TIMERS, json=body) as answer:
            assert answer.status == 201, await answer.text()
        if state is not PENDING:
            await self.executor.bring(timer_id, state)
        return body

    async def answer(self, operation: str, timer_id: str, created: dict[str, Any]) -> object:
        method, path, body = OPERATIONS[operation]
        if path.startswith("?") or not path:
            body = {"id": timer_id, **body} if body else created
        elif body and "ids" in body:
            body = {"ids": [timer_id]}
        async with self.client.request(method, TIMERS + path.format(id=timer_id), json=body) as answer:
            if answer.status in {202, 204}:
                return answer.status
            found = await answer.json()
        if "results" in found:
            (result,) = found["results"]
            assert result["id"] == timer_id
            found, status = result.get("problem"), result["status"]
        else:
            status = answer.status
            if status == 200:
                assert found["id"] == timer_id
                assert answer.headers["ETag"]
        if status < 400:
            return status
        assert status == found["status"]
        if found["code"] == "TIMER_EXISTS":
            assert found["timer"]["id"] == timer_id
        if found["code"] == "TIMER_EXECUTING" and "results" not in path:
            assert operation == "cancel ids" or answer.headers["Retry-After"] == "1"
        return status, found["code"]


async def test_every_operation_in_every_state(any_client: aiohttp.ClientSession, any_store: Store) -> None:
    asking = Asking(any_client, await executing(any_store))
    found: dict[str, list[object]] = {}
    for number, operation in enumerate(OPERATIONS):
        for state in STATES:
            timer_id = f"t{number}-{state}"
            created = await asking.brought(timer_id, state)
            found.setdefault(operation, []).append(await asking.answer(operation, timer_id, created))
    assert {operation: tuple(answers) for operation, answers in found.items()} == TABLE


async def test_what_replace_run_and_redrive_make_of_a_timer(
    any_client: aiohttp.ClientSession, any_store: Store
) -> None:
    asking = Asking(any_client, await executing(any_store))
    for operation, state, occurrence, at in (
        ("replace", FAILED, 2, "2031-01-01T00:00:00.000000Z"),
        ("run", PENDING, 1, "2030-01-01T00:00:00.000000Z"),
        ("redrive", FAILED, 2, None),
    ):
        created = await asking.brought(operation, state)
        assert await asking.answer(operation, operation, created) == 200
        async with any_client.get(f"{TIMERS}/{operation}") as answer:
            timer = await answer.json()
        assert (timer["state"], timer["occurrence"], timer["attempt"]) == ("pending", occurrence, 0)
        assert timer["executeAt"] == (at or timer["updatedAt"])
        assert timer["nextAttemptAt"] == (timer["executeAt"] if operation == "replace" else timer["updatedAt"])
        assert timer["executedAt"] is None


async def test_errors_come_in_the_order_404_412_409(any_client: aiohttp.ClientSession, any_store: Store) -> None:
    asking = Asking(any_client, await executing(any_store))
    await asking.brought("running", RUNNING)
    stale = {"If-Match": '"0000000000000000.1"'}
    for method, path in (("PUT", ""), ("DELETE", ""), ("POST", ":run"), ("POST", ":redrive")):
        codes = []
        for timer_id, headers in (("absent", stale), ("running", stale), ("running", {})):
            async with any_client.request(method, f"{TIMERS}/{timer_id}{path}", json={}, headers=headers) as answer:
                codes.append((await answer.json())["status"])
        assert codes == [404, 412, 409], (method, path)


async def test_a_deleted_group_answers_reads_and_refuses_writes(
    any_client: aiohttp.ClientSession, any_store: Store
) -> None:
    asking = Asking(any_client, await executing(any_store))
    await asking.brought("a", PENDING)
    await any_store.set_group_state(GROUP, "file:demo", GroupState.DELETED)
    await asking.executor.until_seen(any_client, "deleted")
    for path in ("", "/a"):
        async with any_client.get(TIMERS + path) as answer:
            assert answer.status == 200
    refused = {}
    for operation, (method, path, body) in OPERATIONS.items():
        asked = {"ids": ["a"]} if body and "ids" in body else body
        if path.startswith("?") or not path:
            asked = {"id": "a", **OTHER}
        async with any_client.request(method, TIMERS + path.format(id="a"), json=asked) as answer:
            refused[operation] = (answer.status, (await answer.json())["code"])
    async with any_client.delete(f"{TIMERS}/absent") as answer:
        assert answer.status == 404
    async with any_client.delete(f"{TIMERS}/a", headers={"If-Match": '"0000000000000000.1"'}) as answer:
        assert answer.status == 412
    assert set(refused.values()) == {(409, "GROUP_DELETED")}
