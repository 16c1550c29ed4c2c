"""The exceptions that cross a module's border. Answers about single timers are values, not exceptions (`models.results`)."""

from __future__ import annotations


class DurableTimerError(Exception):
    """The base of all errors that this project raises on purpose."""


class ConfigError(DurableTimerError):
    """A setting, a flag or a store URL that cannot be used; the message names it and says what to do."""


class ManifestError(DurableTimerError):
    """A TimerGroup manifest that cannot be used; the message names file, line, field and rule."""


class StoreError(DurableTimerError):
    """The base of what a store raises."""


class StoreUnavailable(StoreError):
    """The store did not answer, refused the connection, timed out or was shutting down.

    Whether a write that raises this was committed is unknown; every write of the contract can be repeated.
    """


class StatementTimeout(StoreUnavailable):
    """The store answers, and ended the statement because it took too long. Nothing of the call was written."""


class StoreFull(StoreUnavailable):
    """The store has no room for a write. Nothing of the call was written."""


class SchemaVersionError(StoreError):
    """The store's schema is outside the range this release runs on; the message names both."""


class StoreInUse(StoreError):
    """Another process holds an embedded store (one SQLite file belongs to one process)."""


class UnreadableRow(StoreError):
    """A timer's row holds what this release cannot read: written by a later one, or by hand. Nothing was written."""

    def __init__(self, group_id: str, timer_id: str, fault: str) -> None:
        super().__init__(f"the row of timer {timer_id!r} of group {group_id!r} cannot be read by this release: {fault}")


class GroupError(StoreError):
    """A registration or a change of a group that the store refuses. Nothing was written."""

    def __init__(self, group_id: str, message: str) -> None:
        super().__init__(message)
        self.group_id = group_id


class GroupIdConflict(GroupError):
    """The group id belongs to another owner, named by `owner`."""

    def __init__(self, group_id: str, owner: str) -> None:
        super().__init__(group_id, f"group {group_id!r} belongs to {owner!r}")
        self.owner = owner


class ShardsMismatch(GroupError):
    """The group has `present` shards in the store and the registration names another count."""

    def __init__(self, group_id: str, present: int, asked: int) -> None:
        super().__init__(group_id, f"group {group_id!r} has {present} shards in the store, not {asked}")
        self.present = present
        self.asked = asked


class GroupPurging(GroupError):
    """The group's timers are being deleted; a registration has to wait until that is over."""

    def __init__(self, group_id: str) -> None:
        super().__init__(group_id, f"group {group_id!r} is being purged")


class UnknownGroup(GroupError):
    """No such group in the store."""

    def __init__(self, group_id: str) -> None:
        super().__init__(group_id, f"no group {group_id!r}")


class KubeError(DurableTimerError):
    """The base of what the Kubernetes API makes fail."""


class KubeUnavailable(KubeError):
    """The API server did not answer, answered with an error of its own, or asked to come back later.

    Whether a write that raises this was done is unknown.
    """


class KubeUndefined(KubeUnavailable):
    """The API server serves no such kind: its definition is missing. So nothing is known of its objects."""


class KubeConflict(KubeError):
    """The object was written by somebody else since it was read, or is there already. Nothing was written."""


class KubeGone(KubeError):
    """The object that was to be written is not there any more."""


class KubeForbidden(KubeError):
    """This account may not do that; the message names the right that is missing."""


class KubeRejected(KubeError):
    """The API server refuses what was sent as invalid; trying again changes nothing. The message says why."""


class NotLeading(KubeError):
    """This process does not hold the Lease, so it may not write. Nothing was sent."""


class LeaseLost(KubeError):
    """The Lease could not be renewed in time, or somebody else holds it: what only a leader does has to end."""
