"""Passwords in URLs do not get out, by message, field or traceback."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from durable_timer.logs import LogFormat, LogLevel, configure, masked


@pytest.fixture(autouse=True)
def _logging_restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://user:secret@host:5432/db", "postgresql://user:***@host:5432/db"),
        ("postgresql://user:se/cr@et@host/db", "postgresql://user:***@host/db"),
        ("postgresql+asyncpg://:secret@host", "postgresql+asyncpg://:***@host"),
        ("postgresql://host/db?user=a&password=secret&x=1", "postgresql://host/db?user=a&password=***&x=1"),
        ("cannot reach postgresql://u:secret@h/d: refused", "cannot reach postgresql://u:***@h/d: refused"),
        ("http://user:secret@host/path", "http://user:***@host/path"),
        ("http://host:8080/users/@me", "http://host:8080/users/@me"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("sqlite:////var/lib/timers.sqlite", "sqlite:////var/lib/timers.sqlite"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_a_password_is_masked_and_nothing_else(text: str, shown: str) -> None:
    assert masked(text) == shown


def say_everything() -> None:
    log = structlog.stdlib.get_logger("test")
    structlog.contextvars.bind_contextvars(request_id="r-1")
    log.info("opened", url="postgresql://u:secret@h/d", group="demo", timer="t-1")
    log.debug("not worth it")
    logging.getLogger("library").warning("at %s", "postgresql://u:secret@h/d")
    try:
        int("postgresql://u:secret@h/d")
    except ValueError:
        log.exception("failed")


@pytest.mark.parametrize("log_format", LogFormat)
def test_no_line_carries_a_password(log_format: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    configure(log_format, LogLevel.INFO)
    say_everything()
    said = capsys.readouterr()
    assert said.out == ""
    assert "secret" not in said.err
    assert "u:***@h/d" in said.err
    assert "not worth it" not in said.err


def test_a_line_of_json_is_an_object_with_ids_as_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogFormat.JSON, LogLevel.INFO)
    say_everything()
    opened, library, failed = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert opened["event"] == "opened"
    assert (opened["request_id"], opened["group"], opened["timer"]) == ("r-1", "demo", "t-1")
    assert opened["timestamp"].endswith("Z")
    assert (library["level"], library["logger"]) == ("warning", "library")
    assert "ValueError" in failed["exception"]
