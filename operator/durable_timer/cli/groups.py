"""`durable-timer groups`: the groups of a store."""

from __future__ import annotations

from pathlib import Path

import click

from durable_timer.cli.options import settings_options
from durable_timer.cli.running import run_program
from durable_timer.cli.texts import TaughtGroup
from durable_timer.config import Settings
from durable_timer.errors import ConfigError, UnknownGroup
from durable_timer.groups.purging import purge as purge_timers
from durable_timer.groups.purging import quiet_after
from durable_timer.groups.releasing import release as release_timers
from durable_timer.models.group import Group, GroupState
from durable_timer.models.limits import STORE_DEFAULT
from durable_timer.stores.base import Store


@click.group(cls=TaughtGroup)
def groups() -> None:
    """Register, list, hand over or empty the groups of a store."""


@groups.command()
@click.argument("path", metavar="[FILE|FOLDER]", required=False, type=click.Path(path_type=Path))
@settings_options("store", "groups", "log")
def apply(settings: Settings, path: Path | None) -> None:
    """Register the groups of TimerGroup manifests in the store.

    The manifests are those of FILE or FOLDER, or else of --groups.

    Running bridges and executors follow within a second. What a manifest no
    longer names stays as it is.

    Examples:
      durable-timer groups apply examples/timergroup.yaml
      durable-timer groups apply groups/ --store postgresql://timers@db/timers
    """
    from durable_timer.factory import Factory

    if path is not None:
        settings = settings.model_copy(update={"groups": path})
    if settings.groups is None:
        raise ConfigError("name the manifest, or the folder of manifests, to apply")
    factory = Factory(settings)
    manifests = factory.manifests()

    async def run() -> list[Group]:
        async with factory.store() as store:
            return await factory.apply_groups({STORE_DEFAULT: store}, manifests)

    for group in run_program(settings, run()):
        click.echo(f"{group.group_id}: registered, {group.shards} shards, generation {group.generation}")


@groups.command(name="list")
@settings_options("store", "log")
def list_(settings: Settings) -> None:
    """List the groups of the store with their timers' counts.

    Example:
      durable-timer groups list --store postgresql://timers@db/timers
    """
    from durable_timer.factory import Factory

    async def run() -> list[tuple[str, ...]]:
        async with Factory(settings).store() as store:
            return [await _row(store, group) for group in (await store.groups(None))[0]]

    heading = ("GROUP", "STATE", "SHARDS", "POOL", "PENDING", "RUNNING", "COMPLETED", "FAILED", "OWNER")
    rows = [heading, *sorted(run_program(settings, run()))]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heading))]
    for row in rows:
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


@groups.command()
@click.argument("group_id", metavar="GROUP")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options("store", "log")
def purge(settings: Settings, group_id: str, *, yes: bool) -> None:
    """Delete all timers of GROUP, whatever their state, and the group with them.

    The group refuses requests from the first moment on. Its row stays with its
    owner and epochs, so that a manifest may register it again; a minute later
    even with another number of shards.

    Example:
      durable-timer groups purge demo --store postgresql://timers@db/timers
    """
    from durable_timer.factory import Factory

    if not yes:
        click.confirm(f"Delete all timers of {group_id}?", abort=True)

    async def run() -> int:
        async with Factory(settings).store() as store:
            return await _purge(store, group_id, settings)

    click.echo(f"{group_id}: purged, {run_program(settings, run())} timers deleted")


@groups.command()
@click.argument("group_id", metavar="GROUP")
@click.option("--to", "to_owner", required=True, metavar="OWNER", help="The new owner.")
@click.option("--from", "from_owner", metavar="OWNER", help="Only if this is the present owner.")
@settings_options("store", "log")
def transfer(settings: Settings, group_id: str, to_owner: str, from_owner: str | None) -> None:
    """Hand GROUP over to another owner, which then may change it.

    The owner of a group is file:NAME for a manifest read from a file, and
    CLUSTER/NAMESPACE/NAME for a resource in Kubernetes.

    Example:
      durable-timer groups transfer demo --to default/team-a/demo --store postgresql://…
    """
    from durable_timer.factory import Factory

    async def run() -> Group:
        async with Factory(settings).store() as store:
            return await store.transfer_group(group_id, to_owner, from_owner)

    click.echo(f"{group_id}: belongs to {run_program(settings, run()).owner}")


@groups.command()
@click.argument("group_id", metavar="GROUP")
@click.option("--namespace", required=True, metavar="NAMESPACE", help="Of the Timers that declared them.")
@click.option("--timer", metavar="NAME", help="Only the one that the Timer of this name declared.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@settings_options("store", "log")
def release(settings: Settings, group_id: str, namespace: str, timer: str | None, *, yes: bool) -> None:
    """Make timers of GROUP that Timer resources declared ordinary ones.

    For Timers that were deleted while no operator ran, such as after an
    uninstall: what they declared goes on firing, and REST refuses to change or
    delete it. Once released it does not. A Timer that is still there takes its
    row back.

    Examples:
      durable-timer groups release demo --namespace team-a
      durable-timer groups release demo --namespace team-a --timer nightly-report
    """
    from durable_timer.factory import Factory

    if not yes:
        which = f"the timer of {namespace}/{timer}" if timer else f"all timers of namespace {namespace}"
        click.confirm(f"Release {which} in {group_id} from their resources?", abort=True)

    async def run() -> int:
        async with Factory(settings).store() as store:
            if all(group.group_id != group_id for group in (await store.groups(None))[0]):
                raise UnknownGroup(group_id)
            return await release_timers(store, group_id, namespace, timer)

    click.echo(f"{group_id}: {run_program(settings, run())} timers released")


async def _row(store: Store, group: Group) -> tuple[str, ...]:
    counts = await store.counts(group.group_id)
    numbers = {name: getattr(counts, name) for name in ("pending", "running", "completed", "failed")}
    texts = [f"{'~' if name in counts.estimated else ''}{number}" for name, number in numbers.items()]
    state = "paused" if group.state is GroupState.ACTIVE and group.spec.paused else group.state.value
    return (group.group_id, state, str(group.shards), group.pool, *texts, group.owner)


async def _purge(store: Store, group_id: str, settings: Settings) -> int:
    """Marks, then deletes in passes, until one that began after the last late create found nothing."""
    group = next((group for group in (await store.groups(None))[0] if group.group_id == group_id), None)
    if group is None:
        raise UnknownGroup(group_id)
    if not group.owner.startswith("file:"):
        raise ConfigError(f"group {group_id!r} is declared in Kubernetes ({group.owner}): delete its TimerGroup there")
    await store.set_group_state(group_id, group.owner, GroupState.PURGING)
    pieces: list[int] = []
    await purge_timers(store, group_id, quiet_after(store, settings.http.request_timeout), pieces.append)
    return sum(pieces)
