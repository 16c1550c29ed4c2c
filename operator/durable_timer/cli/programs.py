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
@settings_options("listen", "store", "log")
def operator(settings: Settings) -> None:
    """Run the operator: TimerGroups and Timers of a Kubernetes cluster.

    It registers what is declared in the store, assigns the shards of all groups
    to executors, and publishes what becomes of it in the status of each resource.
    Of several operators one leads, by a Lease; another takes over within seconds.
    Executors and bridges need none of them to go on.

    It finds the cluster as a pod's service account, or else by KUBECONFIG. The
    custom resource definitions have to be there. --listen serves /metrics,
    /livez and /readyz.

    Settings that matter here (--set NAME=VALUE; `durable-timer config show`):
      kubernetes.namespaces       the namespaces that are served; all by default
      kubernetes.cluster          this cluster's name among those on one store
      kubernetes.lease_name       one Lease for each set of namespaces
      stores.NAME                 further stores, for groups whose spec.store is NAME

    Exit code 5 says that the Lease was lost: start it again, as Kubernetes does.

    Examples:
      durable-timer operator --store postgresql://timers@db/timers --listen :8082
      durable-timer operator --set kubernetes.namespaces=team-a,team-b --set stores.eu=postgresql://timers@eu/timers
    """
    from durable_timer.operating import operate

    run_program(settings, operate(settings))


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
