"""Timers: what a resource declares is brought into its group's store, and what became of it back into its status."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, assert_never

from pydantic import ValidationError

from durable_timer.clock import Clock
from durable_timer.errors import KubeGone, StoreUnavailable
from durable_timer.models.resource import FINALIZER, Resource, ResourceKey
from durable_timer.models.results import Target
from durable_timer.models.status import TimerReason, TimerStatus
from durable_timer.models.timer import Timer
from durable_timer.planning.declaration import (
    GROUP_NOT_FOUND,
    Change,
    Create,
    Notice,
    Outdated,
    Ready,
    Redrive,
    Run,
    Situation,
    Stalled,
    Step,
    Verdict,
    Waiting,
    decide,
)
from durable_timer.planning.declared import (
    DeclaredTimer,
    Refused,
    group_name,
    read_timer,
    timer_id_of,
)
from durable_timer.planning.declared_payload import PayloadRules
from durable_timer.planning.timer_status import is_declared, look_again, timer_news, timer_status
from durable_timer.reconcile.base import GroupDirectory, RegisteredGroup, ResourceApi, Stores
from durable_timer.reconcile.cache import ResourceCache
from durable_timer.reconcile.gathering import GroupRows, StoreClock, StoreRows
from durable_timer.reconcile.timer_deletion import TimerDeletion

UNREACHABLE_PAUSE: Final = timedelta(seconds=15)
"""How soon a Timer whose store was away is tried again."""

_STEPS_MAX: Final = 8
"""Steps of one reconcile: more mean that somebody else keeps writing the row."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A resource's spec as read, and what it was read by."""

    uid: str
    generation: int
    rules: PayloadRules
    declared: DeclaredTimer | Refused


class TimerReconciler:
    """Reconciles Timers (`reconcile.base.Reconciler`).

    Our finalizer is set before the first write to the store, for both deletion policies: what a resource declared is
    deleted or released for sure, also when it was deleted while no operator ran.
    """

    def __init__(
        self,
        stores: Stores,
        api: ResourceApi,
        cache: ResourceCache,
        directory: GroupDirectory,
        clock: Clock,
        leading: Callable[[], bool],
    ) -> None:
        self._api = api
        self._cache = cache
        self._directory = directory
        self._clock = clock
        self._rows = StoreRows(stores, leading)
        self._deletion = TimerDeletion(api, directory, tuple(stores), self._rows, clock)
        self._clocks = {name: StoreClock(store, clock) for name, store in stores.items()}
        self._rules: dict[tuple[str, str], PayloadRules] = {}
        self._readings: dict[ResourceKey, _Reading] = {}
        self._known: dict[ResourceKey, Resource] = {}

    async def reconcile(self, resource: Resource) -> timedelta | None:
        """See `Reconciler.reconcile`."""
        self._known[resource.key] = resource
        try:
            return await self._reconcile(resource)
        except KubeGone:  # the watch says so next, or has said so while this object was being written
            self._cache.drop(resource.key, resource.uid)
            return None

    async def _reconcile(self, resource: Resource) -> timedelta | None:
        if resource.deleting:
            if await self._deletion.finish(resource):
                self._forget(resource.key)
            return None
        group = self.group_of(resource)
        if group is None and is_declared(_status_of(resource), resource.generation):
            return None  # a group's row never goes: its store was not read yet, and it is queued again when it is
        try:
            resource, situation, verdict = await self._declare(resource, group)
        except StoreUnavailable as error:
            return await self._unreachable(resource, group, error)
        if isinstance(verdict, Outdated):
            return None
        await self._publish(resource, situation, verdict)
        return look_again(situation, verdict)

    def concerned(self, key: ResourceKey) -> bool:
        """See `Reconciler`: one that was let go with its row, as nearly all are, is not looked for."""
        return key in self._known

    async def absent(self, key: ResourceKey) -> None:
        """Deals with the row of a resource that is gone, also where somebody took our finalizer off it."""
        if (resource := self._known.get(key)) is not None:
            await self._deletion.let_row_go(resource)
            self._forget(key)

    def _forget(self, key: ResourceKey) -> None:
        self._known.pop(key, None)
        self._readings.pop(key, None)

    def group_of(self, resource: Resource) -> RegisteredGroup | None:
        """The group that a Timer names, where it is registered."""
        name = group_name(resource.spec)
        return None if name is None else self._directory.find(resource.namespace, name)

    def store_away(self, group: RegisteredGroup) -> str | None:
        """Why nothing is asked of the group's store: who waits for one that is away holds up the Timers of another."""
        return self._directory.away(group.store_name)

    async def now(self, group: RegisteredGroup) -> datetime:
        """The now of the group's store. Raises: StoreError."""
        return await self._clocks[group.store_name].now()

    def is_at_rest(self, resource: Resource, group: RegisteredGroup, row: Timer | None, now: datetime) -> bool:
        """Whether a reconcile would write nothing, neither to the store nor to Kubernetes, and want no other one soon."""
        if resource.deleting:
            return False
        situation = self._situation(resource, group, row, now)
        match decide(situation):
            case Outdated():
                return True
            case Ready() | Waiting() | Stalled() as verdict:
                status = timer_status(situation, verdict, self._clock.now())
                written = status == situation.status and (row is None or FINALIZER in resource.finalizers)
                return written and look_again(situation, verdict) is None
            case _:
                return False

    async def _declare(self, resource: Resource, group: RegisteredGroup | None) -> tuple[Resource, Situation, Verdict]:
        """Takes steps until there is a verdict. Raises: StoreError, KubeError."""
        if group is None:
            situation = self._situation(resource, None, None, self._clock.now())
            return resource, situation, GROUP_NOT_FOUND
        if (away := self.store_away(group)) is not None:
            raise StoreUnavailable(away)
        rows = self._rows.of(group.store_name, group.group.group_id)
        row = await rows.get(timer_id_of(resource.namespace, resource.name))
        for _ in range(_STEPS_MAX):
            situation = self._situation(resource, group, row, await self.now(group))
            step = decide(situation)
            acts = isinstance(step, Create | Change | Run | Redrive)
            if (acts or row is not None) and FINALIZER not in resource.finalizers:
                resource = await self._api.set_finalizer(resource, present=True)
                self._cache.put(resource)
            if not isinstance(step, Create | Change | Run | Redrive):
                return resource, situation, step
            row = await self._apply(resource, rows, step)
        situation = self._situation(resource, group, row, await self.now(group))
        return resource, situation, Waiting(TimerReason.PROGRESSING, "somebody else keeps writing its row")

    async def _apply(self, resource: Resource, rows: GroupRows, step: Step) -> Timer | None:
        """Takes a step; the row as it is then, whether the step was applied or not."""
        timer_id = timer_id_of(resource.namespace, resource.name)
        notice: Notice | None
        match step:
            case Create(timer):
                return (await rows.create(timer)).timer
            case Change(change, version, notice):
                result = await rows.update(Target(timer_id, version), change)
            case Run(request):
                result = await rows.run(Target(timer_id, request=request))
                notice = Notice("RunRequested", f"run once, as asked for by the request {request}")
            case Redrive(request):
                result = await rows.redrive(Target(timer_id, request=request))
                notice = Notice("RedriveRequested", f"redriven, as asked for by the request {request}")
            case _:
                assert_never(step)
        if result.refusal is None and notice is not None:
            await self._api.event(resource, "Warning" if notice.warning else "Normal", notice.reason, notice.message)
        return result.timer

    async def _publish(self, resource: Resource, situation: Situation, verdict: Ready | Waiting | Stalled) -> None:
        status = timer_status(situation, verdict, self._clock.now())
        if status == situation.status:
            return
        written = await self._api.write_status(resource, status.to_json())
        if written is not None:
            self._cache.put(written)
        for item in timer_news(situation.status.conditions, status.conditions):
            await self._api.event(resource, item.type, item.reason, item.message)

    async def _unreachable(
        self, resource: Resource, group: RegisteredGroup | None, error: StoreUnavailable
    ) -> timedelta:
        """Says so where something was to be written; what is declared already goes on without us, and stays Ready."""
        situation = self._situation(resource, group, None, self._clock.now())
        if not is_declared(situation.status, resource.generation):
            await self._publish(resource, situation, Waiting(TimerReason.STORE_UNREACHABLE, str(error)))
        return UNREACHABLE_PAUSE

    def _situation(
        self, resource: Resource, group: RegisteredGroup | None, row: Timer | None, now: datetime
    ) -> Situation:
        return Situation(
            resource=resource,
            status=_status_of(resource),
            group=None if group is None else group.group,
            declared=None if group is None else self._read(resource, group),
            row=row,
            now=now,
            precision=timedelta(0) if group is None else group.store.capabilities.precision,
        )

    def _read(self, resource: Resource, group: RegisteredGroup) -> DeclaredTimer | Refused:
        """The resource's spec under its group's rules; read once for each generation of both."""
        place = group.store_name, group.group.group_id
        rules = self._rules.get(place)
        if rules is None or rules.spec != group.group.spec.payload:
            rules = self._rules[place] = PayloadRules(group.group.spec.payload)
        known = self._readings.get(resource.key)
        if (
            known is None
            or (known.uid, known.generation) != (resource.uid, resource.generation)
            or known.rules is not rules
        ):
            known = _Reading(resource.uid, resource.generation, rules, read_timer(resource, rules))
            self._readings[resource.key] = known
        return known.declared


def _status_of(resource: Resource) -> TimerStatus:
    """The status as it is there; one that cannot be read (somebody wrote it by hand) is none."""
    try:
        return TimerStatus.model_validate(dict(resource.status))
    except ValidationError:
        return TimerStatus()
