"""The fixtures of every test: PostgreSQL for the session, and databases on it."""

import os
import signal
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

from tests.support.postgres import EmbeddedPostgres, new_database

SERVER = "DURABLE_TIMER_TEST_POSTGRESQL"


def pytest_configure() -> None:
    """Lets SIGTERM end a run as Ctrl-C does, so that the fixtures end what they started; sets hypothesis up."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    settings.register_profile("house", deadline=None)  # a busy machine is no failure
    settings.load_profile("house")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test of a PostgreSQL server that was given may not be skipped."""
    report = yield
    given = item.get_closest_marker("postgresql") and os.environ.get(SERVER)
    if given and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, although {SERVER} names a server: {report.longrepr}"
    return report


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of the session's PostgreSQL server: the one that DURABLE_TIMER_TEST_POSTGRESQL names, or an embedded one."""
    if given := os.environ.get(SERVER):
        yield given
        return
    server = EmbeddedPostgres()
    try:
        server.start()
        yield server.url
    finally:
        server.remove()


@pytest.fixture
def postgres_database(request: pytest.FixtureRequest, postgres_server: str) -> Iterator[str]:
    """The URL of a new empty database of this test alone."""
    _require_marker(request)
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="module")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of a new empty database that the tests of one module share."""
    with new_database(postgres_server) as url:
        yield url


@pytest.fixture
def private_postgres() -> Iterator[EmbeddedPostgres]:
    """A running server of this test's own, to be stopped, killed and started again."""
    server = EmbeddedPostgres()
    try:
        server.start()
        yield server
    finally:
        server.remove()


def _require_marker(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("postgresql") is None:
        pytest.fail(
            "mark what runs on PostgreSQL with pytest.mark.postgresql, so that each release of it gets its turn"
        )
