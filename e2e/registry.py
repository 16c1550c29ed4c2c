"""All faults of pods, with the words that `python -m e2e --list` prints."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from e2e import deletions, kills, outages, rollouts
from e2e.stage import Shape, Stage
from faults.checks import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A fault: what it does, about how many seconds that takes, and what it needs.

    `slow` timers a second go to a target that answers in 8 s. `short` ones are those of `make e2e`.
    """

    name: str
    about: str
    act: Callable[[Stage], Fault]
    lasts: float
    slow: float = 0.0
    short: bool = False
    shape: Shape = field(default_factory=Shape)


SCENARIOS: Final = (
    Scenario(name="kill_executor", about="kill -9 of one executor", act=kills.executor, lasts=5, short=True),
    Scenario(name="kill_twice", about="kill -9 of the same executor twice in a minute", act=kills.twice, lasts=30),
    Scenario(name="delete_pod", about="kubectl delete pod --force of one of three executors", act=kills.deleted, lasts=10, short=True),
    Scenario(name="kill_leader", about="kill -9 of the leading operator and of an executor together", act=kills.leader_and_executor, lasts=15, short=True),
    Scenario(name="pause", about="SIGSTOP of an executor for 10 s", act=kills.pause, lasts=10),
    Scenario(name="roll_executors", about="a rolling update of executors with targets that answer in 8 s", act=rollouts.executors, lasts=15, slow=3, short=True),
    Scenario(name="roll_bridges", about="a rolling update of bridges", act=rollouts.bridges, lasts=12, short=True),
    Scenario(name="roll_operators", about="a rolling update of the operator", act=rollouts.operators, lasts=10),
    Scenario(name="scale", about="from one executor to four and back", act=rollouts.scaling, lasts=15, shape=Shape(executors=1)),
    Scenario(name="cut_off", about="an executor cut off from the database for 10 s", act=outages.cut_from_database, lasts=10),
    Scenario(name="restart_postgresql", about="PostgreSQL stopped, its container started again", act=outages.database_restarted, lasts=4, short=True),
    Scenario(name="upgrade", about="helm upgrade with other values, and helm rollback", act=rollouts.upgrade, lasts=35),
    Scenario(name="narrow", about="the operator told to watch another namespace for 30 s", act=rollouts.narrowed, lasts=45),
    Scenario(name="delete_group", about="another group with 100,000 pending timers deleted with them, and applied again with another shard count", act=deletions.purged, lasts=90),
    Scenario(name="delete_again", about="the same, and applied again with the same shard count while its purge runs", act=deletions.purged_again, lasts=60),
    Scenario(name="delete_timers", about="400 Timers of both policies deleted beside 100,000 rows of their group", act=deletions.declared, lasts=175),
    Scenario(name="delete_kept", about="another group with 100,000 pending timers deleted without them, and applied again", act=deletions.kept, lasts=30),
    Scenario(name="uninstall", about="helm uninstall with live groups and Timers, the namespace deleted, and all installed again", act=deletions.uninstalled, lasts=40),
    Scenario(name="operator_gone", about="no operator for 60 s, an executor killed meanwhile", act=outages.operator_gone, lasts=75),
    Scenario(name="api_server_gone", about="no kube-apiserver for 60 s, an executor killed meanwhile", act=outages.api_server_gone, lasts=75),
)  # fmt: skip
