"""The command line: `durable-timer COMMAND …`."""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from durable_timer import __version__
from durable_timer.cli.config import config
from durable_timer.cli.exits import ExitCode
from durable_timer.cli.groups import groups
from durable_timer.cli.programs import bridge, executor, migrate, operator, standalone
from durable_timer.cli.texts import TaughtGroup
from durable_timer.cli.uninstall import uninstall
from durable_timer.errors import ConfigError, DurableTimerError, GroupError, LeaseLost, ManifestError, StoreError
from durable_timer.logs import masked


@click.group(cls=TaughtGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="durable-timer")
def cli() -> None:
    """Durable Timer: says "POST this payload to this URL at this time", and keeps the promise.

    Try it on one machine, with a database file in this folder:
      durable-timer standalone --groups examples/timergroup.yaml

    In production, any number of bridges (the REST API) and executors (the
    callbacks) on one PostgreSQL:
      durable-timer bridge   --store postgresql://user@host/timers --listen :8080
      durable-timer executor --store postgresql://user@host/timers --listen :8081

    In Kubernetes, beside those, the operator of TimerGroups and Timers:
      durable-timer operator --store postgresql://user@host/timers --listen :8082

    Every setting is also an environment variable (DURABLE_TIMER_STORE) and a key
    of a file (--config); `durable-timer config show` lists them all.

    Exit codes: 0 done or stopped cleanly, 1 a fault of the program, 2 a wrong
    flag, setting or manifest, 3 the store cannot be used, 4 the store refuses,
    5 an operator lost its Lease.
    """


for command in (standalone, bridge, executor, operator, migrate, groups, uninstall, config):
    cli.add_command(command)


def main() -> NoReturn:
    """Runs the command that the arguments name, and ends the process with its exit code."""
    try:
        cli.main(prog_name="durable-timer", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(ExitCode.INTERRUPTED)
    except DurableTimerError as error:
        for line in str(error).splitlines():
            click.echo(f"durable-timer: {masked(line)}", err=True)
        sys.exit(_exit_code(error))
    sys.exit(ExitCode.OK)


def _exit_code(error: DurableTimerError) -> ExitCode:
    match error:
        case ConfigError() | ManifestError():
            return ExitCode.USAGE
        case GroupError():
            return ExitCode.REFUSED
        case StoreError():
            return ExitCode.STORE
        case LeaseLost():
            return ExitCode.LEASE
        case _:
            return ExitCode.FAULT
