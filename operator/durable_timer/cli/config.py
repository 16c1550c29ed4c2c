"""`durable-timer config`: what the settings are, and whether they can be used."""

from __future__ import annotations

import json

import click

from durable_timer.cli.options import settings_options
from durable_timer.cli.texts import TaughtGroup
from durable_timer.config import Settings
from durable_timer.logs import masked


@click.group(cls=TaughtGroup)
def config() -> None:
    """Show or check the settings, without starting anything."""


@config.command()
@settings_options("listen", "store", "groups", "log")
def show(settings: Settings) -> None:
    """Print all settings as they are in effect, as YAML that --config reads.

    Passwords are shown as ***.

    Examples:
      durable-timer config show
      durable-timer config show --config /etc/durable-timer.yaml --set engine.slots=50
    """
    import yaml

    values = json.loads(settings.model_dump_json())
    values["store"] = masked(settings.store)
    values["stores"] = {name: masked(url) for name, url in settings.stores.items()}
    if settings.tracing.endpoint is not None:
        values["tracing"]["endpoint"] = masked(settings.tracing.endpoint)
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), nl=False)


@config.command()
@settings_options("listen", "store", "groups", "log")
def validate(settings: Settings) -> None:
    """Check settings and group manifests; exit code 2 when something is wrong.

    Nothing is started and the store is not opened.

    Example:
      durable-timer config validate --config durable-timer.yaml --groups groups/
    """
    click.echo(f"The settings are valid{_and_groups(settings)}.")


def _and_groups(settings: Settings) -> str:
    from durable_timer.groups.manifests import load_manifests

    if settings.groups is None:
        return ""
    count = len(load_manifests(settings.groups))
    return ", and so is 1 group" if count == 1 else f", and so are {count} groups"
