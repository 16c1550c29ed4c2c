"""One event loop for one command."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

from durable_timer import logs
from durable_timer.config import Settings

T = TypeVar("T")


def run_program(settings: Settings, program: Coroutine[Any, Any, T]) -> T:
    """Runs a command's work to its end, with logs as the settings say.

    An exception that came alone in an exception group is raised as itself.
    """
    logs.configure(settings.log.format, settings.log.level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(program)
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        raise error from None
