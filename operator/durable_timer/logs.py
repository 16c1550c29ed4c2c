"""Logs: one line an event on stderr, as JSON or for a terminal, with no password in any of them."""

from __future__ import annotations

import logging.config
import re
import sys
from enum import StrEnum
from typing import Final

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

_PASSWORDS: Final = (
    re.compile(r"(\bhttps?://[^\s:/?#@]*:)[^\s/?#]*@", re.IGNORECASE),
    # A database's password may carry what belongs escaped: all up to the last @ counts as part of it.
    re.compile(r"(\b(?!https?:)[a-z][a-z0-9+.-]*://[^\s:/?#@]*:)\S*@", re.IGNORECASE),
)
_PASSWORD_PARAMETER: Final = re.compile(r"([?&](?:ssl)?password=)[^&\s#]*", re.IGNORECASE)


class LogFormat(StrEnum):
    """How a line looks."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """What is worth a line."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def masked(text: str) -> str:
    """The text with `***` for each password in a URL of it."""
    if "://" not in text:
        return text
    for pattern in _PASSWORDS:
        text = pattern.sub(r"\1***@", text)
    return _PASSWORD_PARAMETER.sub(r"\1***", text)


def configure(log_format: LogFormat, level: LogLevel) -> None:
    """Sends what structlog and the standard library's loggers say to stderr, in one form. Called once, at start."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": shared,
        "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(log_format)],
    }
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": formatter},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line", "stream": "ext://sys.stderr"}},
        "root": {"handlers": ["stderr"], "level": level.upper()},
        "loggers": {
            name: {"level": "WARNING"} for name in ("aiohttp.access", "alembic", "asyncio", "httpx2", "kopf", "sqlalchemy")
        },
    })  # fmt: skip


def _rendering(log_format: LogFormat) -> list[Processor]:
    line: Processor = structlog.processors.JSONRenderer(default=str)
    if log_format is LogFormat.CONSOLE:
        plain = structlog.dev.plain_traceback
        line = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    return [structlog.processors.format_exc_info, _mask, line]


def _mask(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    del logger, method
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = masked(value)
    return event
