"""`durable-timer uninstall`: what has to be done in a cluster before the operator is taken away."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Final

import click

from durable_timer.cli.options import settings_options
from durable_timer.cli.running import run_program
from durable_timer.cli.texts import TaughtCommand
from durable_timer.config import Settings
from durable_timer.errors import ConfigError, KubeUnavailable
from durable_timer.models.durations import parse_duration

STOPPING: Final = 0.6
"""The part of the time that the operator's pods may take to end."""


def _duration(_: click.Context, __: click.Parameter, text: str) -> timedelta:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _operator(_: click.Context, __: click.Parameter, text: str) -> tuple[str, str]:
    namespace, slash, name = text.partition("/")
    if not namespace or not slash or not name:
        raise click.BadParameter("must be NAMESPACE/DEPLOYMENT")
    return namespace, name


@click.command(cls=TaughtCommand)
@click.option(
    "--operator", required=True, metavar="NAMESPACE/DEPLOYMENT", callback=_operator, help="The operator's Deployment."
)
@click.option(
    "--timeout", default="50s", show_default=True, callback=_duration, help="How long it may take, such as 50s or 2m."
)
@settings_options("log")
def uninstall(settings: Settings, operator: tuple[str, str], timeout: timedelta) -> None:
    """Prepare a cluster for the operator's removal.

    Scales the operator to 0, waits until its pods are gone, then removes its
    finalizer from all TimerGroups and Timers of the namespaces that it serves
    (kubernetes.namespaces), so that they and their namespaces can be deleted.
    Deletes nothing, and may be repeated. `helm uninstall` runs it.

    Example:
      durable-timer uninstall --operator durable-timer/durable-timer-operator
    """
    run_program(settings, _uninstall(settings, *operator, timeout.total_seconds()))


async def _uninstall(settings: Settings, namespace: str, deployment: str, seconds: float) -> None:
    try:
        from durable_timer.kube.client import open_client
        from durable_timer.kube.removal import Removal
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"needs {error.name}, which is not installed: pip install 'durable-timer[kubernetes]'"
        ) from error
    try:
        async with asyncio.timeout(seconds), open_client() as client:
            removal = Removal(client, settings.kubernetes.namespaces)
            if await removal.stop_operator(namespace, deployment, STOPPING * seconds):
                click.echo(f"The operator {namespace}/{deployment} has stopped.")
            else:
                click.echo(
                    f"Pods of {namespace}/{deployment} are still there: going on without waiting for them.", err=True
                )
            released = await removal.release()
            click.echo(f"Removed the finalizer from {released} TimerGroups and Timers; none has it now.")
    except TimeoutError:
        raise KubeUnavailable(
            f"not done after {seconds:g}s: run it again, or remove the finalizers by hand (docs/install.md)"
        ) from None
