"""One event loop for one command."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import click
import structlog
import uvloop

from durable_timer import logs
from durable_timer.cli.exits import ExitCode
from durable_timer.config import Settings
from durable_timer.errors import DurableTimerError

T = TypeVar("T")

_COLLECT_AFTER: Final = (20_000, 20, 20)
"""Python's collector of cycles looks at what is young each 700 objects, which a few requests under way are: a twentieth
of the time, to find nothing."""

log = structlog.get_logger(__name__)


def run_program(settings: Settings, program: Coroutine[Any, Any, T]) -> T:
    """Runs a command's work to its end, with logs as the settings say.

    An error that came alone in an exception group is raised as itself; a fault of the program is logged, and ends the
    process with exit code 1.
    """
    logs.configure(settings.log.format, settings.log.level)
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(program)
    except Exception as error:
        cause = _alone(error)
        if isinstance(cause, DurableTimerError | click.ClickException | click.Abort):
            raise cause from None
        log.critical("ended by a fault of the program", exc_info=error)
        sys.exit(ExitCode.FAULT)


def _alone(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
