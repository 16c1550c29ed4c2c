"""A program with several stores starts with those that answer."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from durable_timer import preparing
from durable_timer.errors import SchemaVersionError, StoreError, StoreUnavailable
from durable_timer.preparing import prepared
from tests.support.waiting import eventually


class Preparing:
    """A store whose migration waits until it is let go, then ends as it is told to."""

    def __init__(self, error: StoreError | None = None, *, hangs: bool = False) -> None:
        self.error = error
        self.tries = 0
        self.answers = asyncio.Event()
        if not hangs:
            self.answers.set()

    async def migrate(self) -> None:
        self.tries += 1
        await self.answers.wait()
        if self.error is not None:
            raise self.error


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "OTHERS_WITHIN", 0.1)
    monkeypatch.setattr(preparing, "AGAIN", 0.01)


def block(**stores: Preparing) -> Any:
    doubles: Mapping[str, Any] = stores
    return prepared(doubles, {name: f"postgresql://user:hunter2@{name}/x" for name in stores})


async def test_one_that_hangs_is_not_waited_for_and_its_migration_goes_on() -> None:
    good, frozen = Preparing(), Preparing(hangs=True)
    async with block(good=good, frozen=frozen):
        frozen.answers.set()
        await asyncio.sleep(0.05)
        assert (good.tries, frozen.tries) == (1, 1)


async def test_one_that_is_away_is_tried_again_until_it_is_there() -> None:
    good, away = Preparing(), Preparing(StoreUnavailable("gone"))
    async with block(good=good, away=away):
        await eventually(lambda: away.tries > 3)
        away.error = None
        tries = away.tries
        await asyncio.sleep(0.1)
        assert away.tries <= tries + 1


async def test_the_only_one_that_may_come_is_waited_for_as_long_as_it_takes() -> None:
    slow, away = Preparing(hangs=True), Preparing(StoreUnavailable("gone"))
    entering = asyncio.create_task(block(slow=slow, away=away).__aenter__())
    await asyncio.sleep(0.3)
    assert not entering.done()
    slow.answers.set()
    await entering


async def test_without_any_it_does_not_begin() -> None:
    with pytest.raises(StoreUnavailable, match=r"postgresql://user:\*\*\*@one/x: gone"):
        async with block(one=Preparing(StoreUnavailable("gone"))):
            pass


async def test_one_that_cannot_be_used_is_an_error_whatever_the_others_are() -> None:
    with pytest.raises(SchemaVersionError):
        async with block(good=Preparing(), newer=Preparing(SchemaVersionError("version 9"))):
            pass
