"""The Grafana dashboard, in Grafana's JSON: `make docs` writes it into the chart.

Each expression may use `$namespace` and `$group`, which the dashboard asks for, and `$__rate_interval`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

GROUPS: Final = 'namespace=~"$namespace", group=~"$group"'
ALL: Final = 'namespace=~"$namespace"'
POD: Final = "pod, instance"
POD_NAME: Final = "{{pod}} {{instance}}"
WIDTH: Final = 24
"""Columns of Grafana's grid."""

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and how its lines are named; a `bound` is drawn dashed."""

    expr: str
    legend: str
    bound: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """`kind` is Grafana's name for it; `unit` Grafana's name for that. `bad_from`: a stat is red from this value on."""

    title: str
    about: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    stacked: bool = False
    bad_from: float | None = None
    bad_below: float | None = None


def _rate(metric: str, by: str, labels: str = GROUPS) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[$__rate_interval]))"


def _quantile(quantile: float, metric: str, by: str, labels: str = GROUPS) -> str:
    return f"histogram_quantile({quantile}, {_rate(f'{metric}_bucket', f'{by}, le', labels)})"


def _stat(
    title: str,
    about: str,
    expr: str,
    *,
    unit: str = "short",
    bad_from: float | None = None,
    bad_below: float | None = None,
) -> Panel:
    return Panel(title, about, [Query(expr, "")], unit, "stat", 4, bad_from=bad_from, bad_below=bad_below)


OVERVIEW: Final = [
    _stat("Callbacks", "Attempts that ended, per second.", f"sum(rate(durable_timer_deliveries_total{{{GROUPS}}}[$__rate_interval]))", unit="ops"),
    _stat("Due", "Pending timers that are due, counted every 15 s.", f"sum(max by (namespace, group) (durable_timer_due_timers{{{GROUPS}}}))"),
    _stat("Given up in an hour", "Timers that became failed.", f'sum(increase(durable_timer_deliveries_total{{{GROUPS}, outcome="failed"}}[1h]))', bad_from=1),
    _stat("Executors", "Living members, as they see each other.", f"sum(max by (namespace, pool) (durable_timer_members{{{ALL}}}))", bad_below=1),
    _stat("Unserved shards", "Shards that no executor has claimed.", f"sum(max by (namespace, group) (durable_timer_group_shards{{{GROUPS}}})) - sum(durable_timer_claims{{{GROUPS}}})", bad_from=1),
    _stat("Leading operators", "Exactly one holds the Lease.", f"sum(durable_timer_operator_leader{{{ALL}}})", bad_below=1),
]  # fmt: skip

PER_GROUP: Final = [
    Panel("Lateness p99 against the objective", "How late due attempts were sent. The objective is dashed.", [
        Query(_quantile(0.99, "durable_timer_lateness_seconds", "group"), "{{group}}"),
        Query(f"max by (group) (durable_timer_lateness_objective_seconds{{{GROUPS}}})", "{{group}} objective", bound=True),
    ], "s", width=12),
    Panel("Lateness p50", "Half of the due attempts were sent sooner than this.", [
        Query(_quantile(0.5, "durable_timer_lateness_seconds", "group"), "{{group}}"),
    ], "s", width=12),
    Panel("Due backlog", "Pending timers that are due.", [
        Query(f"max by (group) (durable_timer_due_timers{{{GROUPS}}})", "{{group}}"),
    ]),
    Panel("Oldest due timer", "For how long it has been due; a paused group's goes on growing.", [
        Query(f"max by (group) (durable_timer_oldest_due_age_seconds{{{GROUPS}}})", "{{group}}"),
    ], "s"),
    Panel("In flight", "Callbacks under way.", [
        Query(f"sum by (group) (durable_timer_in_flight{{{GROUPS}}})", "{{group}}"),
    ]),
    Panel("Outcomes", "Attempts that ended, by outcome.", [
        Query(_rate("durable_timer_deliveries_total", "outcome"), "{{outcome}}"),
    ], "ops", stacked=True),
    Panel("Retries", "Attempts that did not succeed and are tried again.", [
        Query(_rate("durable_timer_deliveries_total", "group", f'{GROUPS}, outcome="retry"'), "{{group}}"),
    ], "ops"),
    Panel("Deferred", "Timers put off without an attempt: the target is too slow, or a Secret is missing.", [
        Query(_rate("durable_timer_timers_deferred_total", "group, reason"), "{{group}} {{reason}}"),
    ], "ops"),
    Panel("Created", "Timers created over REST.", [
        Query(_rate("durable_timer_timers_created_total", "group"), "{{group}}"),
    ], "ops"),
    Panel("Callbacks' duration p99", "From the request to the end of its answer.", [
        Query(_quantile(0.99, "durable_timer_callback_duration_seconds", "group"), "{{group}}"),
    ], "s"),
    Panel("Secrets missing", "Executors that cannot sign the group's callbacks, which are held.", [
        Query(f"sum by (group) (durable_timer_secrets_missing{{{GROUPS}}})", "{{group}}"),
    ]),
]  # fmt: skip

PER_EXECUTOR: Final = [
    Panel("Shards", "Shards that each executor owns, in all groups.", [
        Query(f"sum by ({POD}) (durable_timer_claims{{{ALL}}})", POD_NAME),
    ], stacked=True),
    Panel("Claims by group", "Shards owned, of those that the group has (dashed).", [
        Query(f"sum by (group) (durable_timer_claims{{{GROUPS}}})", "{{group}}"),
        Query(f"max by (group) (durable_timer_group_shards{{{GROUPS}}})", "{{group}} shards", bound=True),
    ]),
    Panel("Loop age", "How long ago the slowest loop turned. At 10 s the probe fails.", [
        Query(f"max by ({POD}, loop) (durable_timer_loop_age_seconds{{{ALL}}})", "{{loop}} " + POD_NAME),
    ], "s"),
    Panel("Members by pool", "As the executors see each other.", [
        Query(f"max by (pool) (durable_timer_members{{{ALL}}})", "{{pool}}"),
    ]),
    Panel("Recovered timers", "Running timers made pending again after a fault.", [
        Query(f"sum by (group) (increase(durable_timer_timers_swept_total{{{GROUPS}}}[$__rate_interval]))", "{{group}}"),
    ]),
    Panel("Store calls p99", "By the method of the contract, in all programs.", [
        Query(_quantile(0.99, "durable_timer_store_call_duration_seconds", "method", ALL), "{{method}}"),
    ], "s"),
    Panel("Store errors", "Calls that raised.", [
        Query(_rate("durable_timer_store_errors_total", "method, error", ALL), "{{method}} {{error}}"),
    ], "ops"),
    Panel("CPU", "Cores used, by process.", [
        Query(f"sum by ({POD}) (rate(process_cpu_seconds_total{{{ALL}}}[$__rate_interval]) and on (namespace, pod, instance) durable_timer_build_info)", POD_NAME),
    ]),
    Panel("Clock offset", "The store's clock less the machine's. It decides nothing about when timers fire.", [
        Query(f"max by ({POD}) (durable_timer_clock_offset_seconds{{{ALL}}})", POD_NAME),
    ], "s"),
]  # fmt: skip

BRIDGE: Final = [
    Panel("Requests", "REST requests answered, by status.", [
        Query(_rate("durable_timer_http_requests_total", "status", ALL), "{{status}}"),
    ], "reqps", width=12, stacked=True),
    Panel("Requests' duration p99", "By operation.", [
        Query(_quantile(0.99, "durable_timer_http_request_duration_seconds", "operation", ALL), "{{operation}}"),
    ], "s", width=12),
]  # fmt: skip

OPERATOR: Final = [
    Panel("Leader", "Which operator holds the Lease.", [
        Query(f"max by ({POD}) (durable_timer_operator_leader{{{ALL}}})", POD_NAME),
    ]),
    Panel("Reconciles", "By kind and outcome.", [
        Query(_rate("durable_timer_operator_reconciles_total", "kind, outcome", ALL), "{{kind}} {{outcome}}"),
    ], "ops"),
    Panel("Reconciles' duration p99", "By kind.", [
        Query(_quantile(0.99, "durable_timer_operator_reconcile_duration_seconds", "kind", ALL), "{{kind}}"),
    ], "s"),
    Panel("Queue", "Resources that wait to be reconciled.", [
        Query(f"max by ({POD}) (durable_timer_operator_queue_depth{{{ALL}}})", POD_NAME),
    ]),
    Panel("Oldest in the queue", "For how long the resource that waits longest has waited.", [
        Query(f"max by ({POD}) (durable_timer_operator_queue_oldest_age_seconds{{{ALL}}})", POD_NAME),
    ], "s"),
    Panel("Planner's age", "How long ago it read members and shards and wrote what had to be.", [
        Query(f"max by (store, pool) (durable_timer_operator_planner_age_seconds{{{ALL}}})", "{{store}} {{pool}}"),
    ], "s"),
    Panel("Assignments", "Shards that the planner assigned anew.", [
        Query(f"sum by (store, pool) (increase(durable_timer_operator_assignments_written_total{{{ALL}}}[$__rate_interval]))", "{{store}} {{pool}}"),
    ]),
    Panel("Deaths declared", "Silent executors that the planner declared dead.", [
        Query(f"sum by (store, pool) (increase(durable_timer_operator_deaths_declared_total{{{ALL}}}[$__rate_interval]))", "{{store}} {{pool}}"),
    ]),
    Panel("TimerGroups", "By their Ready condition.", [
        Query(f"max by (ready, reason) (durable_timer_operator_groups{{{ALL}}})", "{{ready}} {{reason}}"),
    ], stacked=True),
]  # fmt: skip

ROWS: Final = {
    "Overview": OVERVIEW,
    "Groups": PER_GROUP,
    "Executors and the store": PER_EXECUTOR,
    "Bridges": BRIDGE,
    "Operator": OPERATOR,
}


def dashboard() -> str:
    """The dashboard as JSON."""
    document = {
        "title": "Durable Timer",
        "uid": "durable-timer",
        "description": "Generated by `make docs` from docs/dashboard.py: change it there.",
        "tags": ["durable-timer"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_datasource(), *_variables()]},
        "annotations": {"list": []},
        "panels": list(_panels()),
    }
    return json.dumps(document, indent=2) + "\n"


def _panels() -> Iterator[dict[str, object]]:
    number, y = 0, 0
    for title, panels in ROWS.items():
        number += 1
        yield {
            "id": number,
            "type": "row",
            "title": title,
            "collapsed": False,
            "panels": [],
            "gridPos": _place(0, y, WIDTH, 1),
        }
        x, y = 0, y + 1
        height = 4 if panels[0].kind == "stat" else 8
        for panel in panels:
            number += 1
            if x + panel.width > WIDTH:
                x, y = 0, y + height
            yield {"id": number, "gridPos": _place(x, y, panel.width, height), **_panel(panel)}
            x += panel.width
        y += height


def _place(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": height}


def _panel(panel: Panel) -> dict[str, object]:
    targets = [
        {"refId": chr(ord("A") + place), "datasource": _SOURCE, "expr": query.expr, "legendFormat": query.legend}
        for place, query in enumerate(panel.queries)
    ]
    custom = {
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none"},
        "fillOpacity": 20 if panel.stacked else 0,
    }
    dashed = [
        {"matcher": {"id": "byFrameRefID", "options": target["refId"]}, "properties": [
            {"id": "custom.lineStyle", "value": {"fill": "dash", "dash": [8, 8]}},
        ]}
        for target, query in zip(targets, panel.queries, strict=True) if query.bound
    ]  # fmt: skip
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "min": None if panel.title == "Clock offset" else 0,
                "thresholds": _thresholds(panel),
            }
            | ({"custom": custom} if panel.kind == "timeseries" else {"noValue": "0"}),
            "overrides": dashed,
        },
        "options": {"tooltip": {"mode": "multi", "sort": "desc"}}
        if panel.kind == "timeseries"
        else {"colorMode": "value"},
    }


def _thresholds(panel: Panel) -> dict[str, object]:
    steps: list[dict[str, object]] = [{"color": "text", "value": None}]
    if panel.bad_from is not None:
        steps.append({"color": "red", "value": panel.bad_from})
    if panel.bad_below is not None:
        steps = [{"color": "red", "value": None}, {"color": "text", "value": panel.bad_below}]
    return {"mode": "absolute", "steps": steps}


def _datasource() -> dict[str, object]:
    return {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variables() -> Iterator[dict[str, object]]:
    for name, query in (
        ("namespace", "label_values(durable_timer_build_info, namespace)"),
        ("group", 'label_values(durable_timer_group_shards{namespace=~"$namespace"}, group)'),
    ):
        yield {
            "name": name, "label": name.capitalize(), "type": "query", "datasource": _SOURCE, "query": query,
            "definition": query, "multi": True, "includeAll": True, "allValue": ".*", "refresh": 2, "sort": 1,
            "current": {"text": "All", "value": "$__all"},
        }  # fmt: skip
