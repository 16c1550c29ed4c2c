"""One event loop for one command."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

import click
import structlog
import uvloop

from durable_timer import logs
from durable_timer.cli.exits import ExitCode
from durable_timer.config import Settings
from durable_timer.errors import DurableTimerError

T = TypeVar("T")

log = structlog.get_logger(__name__)


def run_program(settings: Settings, program: Coroutine[Any, Any, T]) -> T:
    """Runs a command's work to its end, with logs as the settings say.

    An error that came alone in an exception group is raised as itself; a fault of the program is logged, and ends the
    process with exit code 1.
    """
    logs.configure(settings.log.format, settings.log.level)
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
