"""When the Secrets that sign come late, or not, or say nothing."""

import asyncio

import pytest

from durable_timer.engine.groups import FRESH_FOR
from durable_timer.models.timer import TimerState
from tests.engine.conftest import Rig
from tests.support.waiting import eventually

SIGNED = {"signing": {"secretRefs": [{"name": "s", "key": "k"}]}}


async def test_a_secret_that_does_not_come_holds_up_its_group_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    come = asyncio.Event()

    async def late(namespace: str | None, name: str, key: str) -> bytes | None:
        await come.wait()
        return b"key"

    monkeypatch.setattr(rig.secrets, "read", late)
    await rig.group("signed", callback=SIGNED)
    await rig.group("plain")
    await rig.create("s", group_id="signed")
    executor = await rig.start()
    began = asyncio.get_running_loop().time()
    number = 0
    while asyncio.get_running_loop().time() - began < 2 * FRESH_FOR:
        number += 1
        await rig.create(f"p{number}", group_id="plain")
        await rig.becomes(f"p{number}", TimerState.COMPLETED, group_id="plain")
    assert executor._book.fresh(executor._clock.monotonic())
    assert (await rig.row("s", "signed")).state is TimerState.PENDING  # type: ignore[union-attr]
    come.set()
    await rig.becomes("s", TimerState.COMPLETED, group_id="signed")
    assert "webhook-signature" in dict(rig.targets.sent[-1][1].headers)


@pytest.mark.parametrize("value", [b"", b"whsec_", b" \n"])
async def test_an_empty_key_is_none(rig: Rig, value: bytes) -> None:
    rig.secrets.values[None, "s", "k"] = value
    await rig.group(callback=SIGNED)
    executor = await rig.start()
    await eventually(lambda: executor._book.unreadable_secrets() == ("g",))
    rig.secrets.values[None, "s", "k"] = b"key"
    await eventually(lambda: executor._book.unreadable_secrets() == ())


async def test_a_secret_that_is_gone_after_it_was_read_goes_on_signing(rig: Rig) -> None:
    rig.secrets.values[None, "s", "k"] = b"key"
    await rig.group(callback=SIGNED)
    executor = await rig.start()
    await eventually(lambda: executor._book.groups["g"].fires)
    rig.secrets.values.clear()
    await executor._book.read_keys()
    await rig.create("t")
    await rig.becomes("t", TimerState.COMPLETED)
    assert "webhook-signature" in dict(rig.targets.sent[0][1].headers)
