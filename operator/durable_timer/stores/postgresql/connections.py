"""Connections to PostgreSQL: the pool, the bounds of each call, and where the driver's exceptions end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg
from asyncpg import exceptions as pg

from durable_timer.errors import (
    ConfigError,
    DurableTimerError,
    SchemaVersionError,
    StatementTimeout,
    StoreError,
    StoreFull,
    StoreUnavailable,
)
from durable_timer.stores.options import StoreOptions

T = TypeVar("T")
Connection = Any
"""A pooled asyncpg connection (its type is a proxy that answers what the connection does)."""
Row = tuple[Any, ...]
"""Values by position, as a record has them."""

GRACE: Final = 0.5
"""Seconds that a call may take beyond the statement timeout: for the way there and back."""

CONNECT_TIMEOUT: Final = 3.0
"""Seconds for a new connection, TLS and log-in included."""

TRIES: Final = 5
"""How often a transaction is tried that the server ended for a deadlock, or because a migration went by."""

_CLOSED: Final = "the store is closed"
_CLOSE_TIMEOUT: Final = 5.0
_IDLE_LIFETIME: Final = 300.0
_QUERIES: Final = 10_000_000

DRIVER_ERRORS: Final = (OSError, pg.PostgresError, pg.InterfaceError, pg.InternalClientError)
"""All that a call of the driver raises. A timeout is an OSError; InternalClientError ("another operation is in
progress") is what a call may get on a connection that is just being lost."""

_AGAIN: Final = (pg.DeadlockDetectedError, pg.SerializationError, pg.InvalidCachedStatementError)
_AWAY: Final = (
    pg.PostgresConnectionError,
    pg.PostgresSystemError,
    pg.PostgresIOError,
    pg.InsufficientResourcesError,
    pg.OperatorInterventionError,
    pg.LockNotAvailableError,
    pg.ReadOnlySQLTransactionError,
    pg.IdleInTransactionSessionTimeoutError,
    pg.InvalidAuthorizationSpecificationError,
    pg.InvalidCatalogNameError,
    *_AGAIN,
)


def server_settings(options: StoreOptions) -> dict[str, str]:
    """What each connection sets for its session.

    All statements look up rows by an index, in the order of their keys. So each is planned once: a generic plan saves
    planning at each take (measured: 0.8 ms). With sequential and bitmap scans, hash and merge joins off, it cannot be
    one that was right for an empty table only, nor one that reads all that is running to settle a few, and rows are
    locked in the order of the keys. Compilation (JIT) costs more than these statements take. A client that went away
    while its statement runs is noticed within 0.5 s.
    """
    return {
        "application_name": options.application_name,
        "statement_timeout": str(int(options.statement_timeout.total_seconds() * 1000)),
        "idle_in_transaction_session_timeout": str(int(options.statement_timeout.total_seconds() * 1000)),
        "client_connection_check_interval": "500",
        "plan_cache_mode": "force_generic_plan",
        "enable_seqscan": "off",
        "enable_bitmapscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
        "timezone": "UTC",
    }


def translated(error: Exception) -> StoreError | ConfigError:
    """The store's error for a driver's, without the values of rows that a detail or an encoder's message may carry."""
    said = _said(error)
    if isinstance(error, pg.DiskFullError):
        return StoreFull(f"PostgreSQL has no room: {said}")
    if isinstance(error, pg.ClientConfigurationError):
        return ConfigError(f"the store's URL cannot be used: {said}")
    if isinstance(error, pg.UndefinedTableError | pg.UndefinedColumnError):
        return SchemaVersionError(f"{said}: run `durable-timer migrate`")
    if isinstance(error, TimeoutError):
        return StoreUnavailable("PostgreSQL did not answer in time")
    if isinstance(error, pg.QueryCanceledError):
        return StatementTimeout(f"PostgreSQL ended a statement: {said}")
    if isinstance(error, (OSError, pg.InternalClientError, *_AWAY)) or (
        isinstance(error, pg.InterfaceError) and not isinstance(error, ValueError)
    ):
        return StoreUnavailable(f"PostgreSQL is unavailable: {said}")
    return StoreError(f"PostgreSQL refused: {said}")


def _said(error: Exception) -> str:
    if isinstance(error, ValueError) and not isinstance(error, pg.ClientConfigurationError | OSError):
        return "a value that the driver cannot encode"
    if isinstance(error, pg.PostgresError):
        return str(error.args[0]) if error.args else type(error).__name__
    return str(error) or type(error).__name__


class Connections:
    """A pool that connects when it is first used, and whose calls end in time whatever the server does.

    A call waits for a free connection within its own time.

    A call that is cancelled or does not end in time has its connection cut, not handed back: what it had begun must
    not be committed much later.
    """

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._url = url
        self._options = options
        self._bound = options.statement_timeout.total_seconds() + GRACE
        self._pool: Any = None
        self._closed = False

    async def fetch(self, statement: str, *values: object) -> list[Row]:
        """Runs one statement, a transaction of its own, and answers its rows."""

        async def work(connection: Connection) -> list[Row]:
            rows: list[Row] = await connection.fetch(statement, *values)
            return rows

        return await self._run(work)

    async def transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work` in a transaction (READ COMMITTED), anew where the server ended it to resolve a deadlock.

        What `work` raises rolls it back. (asyncpg's own transactions would wait for a roll-back that a server which
        hangs never answers.)
        """

        async def within(connection: Connection) -> T:
            await connection.execute("BEGIN")
            try:
                result = await work(connection)
                await connection.execute("COMMIT")
            except (pg.PostgresError, DurableTimerError):
                await connection.execute("ROLLBACK")
                raise
            return result

        return await self._run(within)

    async def connect(self) -> Connection:
        """A connection apart from the pool, for the caller to close.

        Raises:
            StoreUnavailable: the server cannot be reached, or the store is closed.
        """
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await asyncpg.connect(
                    self._url, timeout=CONNECT_TIMEOUT, server_settings=server_settings(self._options)
                )
        except DRIVER_ERRORS as error:
            raise translated(error) from None

    async def close(self) -> None:
        """Waits for calls under way, up to five seconds, then cuts what is left. Later calls are refused."""
        self._closed = True
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT):
                await pool.close()
        except DRIVER_ERRORS:
            pool.terminate()

    async def _run(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        try:
            for attempt in range(1, TRIES):
                try:
                    return await self._once(work)
                except _AGAIN:
                    await asyncio.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311 (jitter)
            return await self._once(work)
        except DRIVER_ERRORS as error:
            raise translated(error) from None

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        pool = await self._opened()
        end = asyncio.get_running_loop().time() + self._bound
        connection = await _acquired(pool, end)
        try:
            async with asyncio.timeout_at(end):
                return await work(connection)
        except (pg.PostgresError, DurableTimerError):
            raise
        except BaseException:
            connection.terminate()
            raise
        finally:
            await pool.release(connection)

    async def _opened(self) -> Any:
        if self._closed:
            raise StoreUnavailable(_CLOSED)
        if self._pool is None:
            # With no connection to make at once, this does not suspend: two first calls share one pool.
            self._pool = await asyncpg.create_pool(
                self._url,
                min_size=0,
                max_size=self._options.connections,
                max_queries=_QUERIES,
                max_inactive_connection_lifetime=_IDLE_LIFETIME,
                timeout=CONNECT_TIMEOUT,
                server_settings=server_settings(self._options),
                reset=_nothing_to_reset,
            )
        return self._pool


async def _acquired(pool: Any, end: float) -> Connection:
    """A connection of the pool, by `end` of the loop's clock.

    Raises:
        StoreUnavailable: for whatever reason there is none; the server's word for it differs with what it is doing.
        ConfigError: the URL cannot be used.
    """
    try:
        async with asyncio.timeout_at(end):
            return await pool.acquire()
    except DRIVER_ERRORS as error:
        reason = translated(error)
        if isinstance(reason, StoreUnavailable | ConfigError):
            raise reason from None
        raise StoreUnavailable(f"PostgreSQL gives no connection: {_said(error)}") from None


async def _nothing_to_reset(_connection: Connection) -> None:
    """Nothing that outlives a transaction is ever set, so handing a connection back needs no round trip."""
