"""Waiting for a condition with a deadline."""

import pytest

from tests.support.waiting import eventually, eventually_blocking


async def test_the_first_truthy_answer_is_returned() -> None:
    answers = iter([0, 0, 7])
    assert await eventually(lambda: next(answers)) == 7


async def test_a_coroutine_function_may_ask() -> None:
    answers = iter([None, "there"])

    async def ask() -> str | None:
        return next(answers)

    assert await eventually(ask) == "there"


async def test_a_failed_assertion_means_not_yet_until_the_deadline() -> None:
    def ask() -> bool:
        raise AssertionError("three of four arrived")

    with pytest.raises(TimeoutError, match="three of four arrived"):
        await eventually(ask, within=0.05)
    with pytest.raises(TimeoutError, match="three of four arrived"):
        eventually_blocking(ask, within=0.05)


async def test_another_error_is_not_waited_out() -> None:
    with pytest.raises(ZeroDivisionError):
        await eventually(lambda: 1 // 0)
