"""The commands that serve, and the one that prepares a database."""

from __future__ import annotations

import click

from durable_timer.cli.options import settings_options
from durable_timer.cli.running import run_program
from durable_timer.cli.texts import TaughtCommand
from durable_timer.config import Settings

SERVE = ("listen", "store", "groups", "log")


@click.command(cls=TaughtCommand)
@settings_options(*SERVE)
def standalone(settings: Settings) -> None:
    """Run REST API and executor in one process.

    The whole service without anything beside it: on SQLite by default, on
    PostgreSQL if --store says so. Ctrl-C or SIGTERM stops it: callbacks under way
    end first; a second one stops it at once, and loses nothing but time.

    Examples:
      durable-timer standalone --groups examples/timergroup.yaml
      durable-timer standalone --store sqlite:////var/lib/timers/timers.sqlite --listen :8080
      durable-timer standalone --set engine.deny_private_targets=false
    """
    from durable_timer.service import Role, serve

    run_program(settings, serve(settings, Role.STANDALONE))


@click.command(cls=TaughtCommand)
@settings_options(*SERVE)
def bridge(settings: Settings) -> None:
    """Run the REST API.

    Any number of bridges share one PostgreSQL with any number of executors. The
    contract is served at /api.yaml and, for people, at /docs; metrics at
    /metrics, probes at /livez and /readyz.

    Examples:
      durable-timer bridge --store postgresql://timers@db/timers --listen :8080
      DURABLE_TIMER_STORE=postgresql://… durable-timer bridge --groups groups/
    """
    from durable_timer.service import Role, serve

    run_program(settings, serve(settings, Role.BRIDGE))


@click.command(cls=TaughtCommand)
@settings_options(*SERVE)
def executor(settings: Settings) -> None:
    """Run an executor: it takes due timers and delivers their callbacks.

    The executors of a pool share its shards by themselves and take over from one
    that died within seconds. --listen serves /metrics, /livez and /readyz.

    Examples:
      durable-timer executor --store postgresql://timers@db/timers --listen :8081
      durable-timer executor --config executor.yaml --set pool=slow-targets
    """
    from durable_timer.service import Role, serve

    run_program(settings, serve(settings, Role.EXECUTOR))


@click.command(cls=TaughtCommand)
@settings_options("store", "log")
def migrate(settings: Settings) -> None:
    """Bring the database's schema to this release's.

    The programs do this at their start, one at a time under a lock; this command
    does it alone, such as in a job before an upgrade.

    Example:
      durable-timer migrate --store postgresql://owner@db/timers
    """
    from durable_timer.factory import Factory
    from durable_timer.logs import masked

    async def run() -> None:
        async with Factory(settings).store():
            pass

    run_program(settings, run())
    click.echo(f"{masked(settings.store)} has this release's schema")
