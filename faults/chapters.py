"""The words of `docs/faults.md`: its head, and a chapter for each command that finds something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Chapter:
    """A part of the page: the faults of one command, which it alone writes. `file` is the name of its JSON."""

    title: str
    command: str
    file: str
    prefix: str
    """What its plots' names begin with."""
    head: str
    notes: str


HEAD: Final = """\
<!-- Written by `make faults` and `make e2e-long` from the JSON files in docs/faults. -->
# Faults

What holds when processes die, stand still, are cut off or lose their database. A client asks for timers of all kinds
(single creates, batches, schedules each minute, chains by `nextExecuteAt`, timers whose target first refuses, cancels
and changes of time near and after the moment of delivery). It repeats what was not answered, and keeps a ledger of what
was acknowledged; a receiver keeps every callback. Then the two are held against each other (`faults/checks.py`, whose
tests plant each violation).
"""

NOTES: Final = """\
- **commit**: what the row was found with; each command replaces the rows of the faults that it makes happen, also where
  one fails to happen. **timers**: creates that were acknowledged. **schedules due**: full minutes that schedules owed.
- **lost**: acknowledged, and not delivered. **early**: received before its time, or tried again sooner than 100 ms after
  a refusal. **another time**: a chain's callback for another time than the answer before named (half of the chains ask
  for less than the service takes, a second after the answer was read, and may then be later, at most by another second),
  or a schedule's beside the minute. **cancelled, delivered**: received after a cancel or a change of time had been acknowledged.
- **duplicates (in flight)**: callbacks of an occurrence that had been answered with success before; in brackets how many
  occurrences the dead, paused or cut-off executors had taken and not settled when the fault began. Each of those may come
  once more; any other duplicate is a failure, and so is every one where no executor died or lost its claim.
- **gap**: the longest time that any one of the 16 shards fired nothing, from the fault's begin on. **firing again
  after**: the same, counted from the fault's end, or from when another executor could take over at the earliest (2 s
  without a beat). More than 3 s is a failure, more than 1 s after a planned stop. Where all executors were killed the
  end is when they are started again: what they take to start, and to find their predecessors dead, counts. **slowest**:
  the latest of all timers, from when it was due, acknowledged, and the fault over; more than 3 s is a failure.
- What failed is **bold**, as is its fault, and told below, above the plot of that fault.
- In the plots *due* is when each delivered timer should have fired, *callbacks* when the receiver saw them; both per
  tenth of a second, on a logarithmic axis, at whose foot there was none.
"""

PROCESSES: Final = Chapter(
    title="Processes",
    command="make faults",
    file="results",
    prefix="",
    head="""\
Real processes of one machine: PostgreSQL, two bridges, two executors, and 500 timers a second. An executor that is
started again has its predecessor's `member_host`, as in a pod. Each fault waits for a
full minute, at which 40 schedules are due while it lasts or soon after. `make test` plays two of them at a fifth of the
load, one of these with a minute; how soon all fires again is not asked there, where the machine is busy with the tests.
""",
    notes="",
)

PODS: Final = Chapter(
    title="Pods",
    command="make e2e-long",
    file="pods",
    prefix="pod_",
    head="""\
A real Kubernetes with one node, in which each fault has a namespace of its own: the chart installed with two operators,
three executors and two bridges, unless the fault says otherwise; PostgreSQL, the receiver and the client are pods as
well; 300 timers a second. Killed processes are killed from the node, by their pid; the kubelet starts the container
again.
""",
    notes="""\
What one node cannot show: a node that is lost or cut off as a whole (the tolerations that let its pods go after 15 s,
the spread over nodes and zones), pods that start on another node or wait for its image, a control plane of several
members, a load balancer outside the cluster, the enforcement of NetworkPolicies, volumes that follow a pod. All pods,
PostgreSQL and the control plane share the processors here, so a pod that starts takes time from those that deliver; and
all share one clock.
""",
)

CHAPTERS: Final = (PROCESSES, PODS)
