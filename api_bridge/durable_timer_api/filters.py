"""The filters of lists, cancels and redrives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from durable_timer.models import limits
from durable_timer.models.checks import check_label_name, check_label_value, check_timer_id
from durable_timer.models.instants import parse_instant
from durable_timer.models.page import TimerFilter
from durable_timer.models.timer import TimerState
from durable_timer.stores.base import Store
from durable_timer_api.problems import Code, Problem, Wrong, invalid
from durable_timer_api.schemas import FailedFilterBody, FilterBody

T = TypeVar("T")

FILTER_PARAMETERS: Final = frozenset({"state", "dueFrom", "dueBefore", "idPrefix", "label"})
REPEATABLE: Final = frozenset({"state", "label"})

_DUE_NEEDS_PENDING: Final = "implies the state pending, and excludes others"


def filter_of_query(found: Mapping[str, list[str]]) -> TimerFilter:
    """The filter in a list's query. Raises: Problem INVALID_INPUT with all that is wrong."""
    errors: list[Wrong] = []

    def read(name: str, parse: Callable[[str], T]) -> list[T]:
        values = []
        for text in found.get(name, ()):
            try:
                values.append(parse(text))
            except ValueError as error:
                errors.append(Wrong(str(error), parameter=name))
        return values

    states = frozenset(read("state", _state))
    due_from, due_before = read("dueFrom", parse_instant), read("dueBefore", parse_instant)
    id_prefix = read("idPrefix", _prefix)
    labels = read("label", _label)
    if len(labels) > limits.LABELS_MAX:
        errors.append(Wrong(f"must stand at most {limits.LABELS_MAX} times", parameter="label"))
    if states and states != {TimerState.PENDING}:
        errors += [Wrong(_DUE_NEEDS_PENDING, parameter=name) for name in ("dueFrom", "dueBefore") if name in found]
    if errors:
        raise invalid(errors)
    return TimerFilter(
        states=states,
        due_from=_first(due_from),
        due_before=_first(due_before),
        id_prefix=_first(id_prefix),
        labels=tuple(labels),
    )


def filter_of_body(body: FilterBody) -> TimerFilter:
    """The filter in a cancel's body. Raises: Problem INVALID_INPUT."""
    states = frozenset(body.state or ())
    due = {"dueFrom": body.due_from, "dueBefore": body.due_before}
    if states and states != {TimerState.PENDING}:
        errors = [
            Wrong(_DUE_NEEDS_PENDING, pointer=f"/filter/{name}") for name, value in due.items() if value is not None
        ]
        if errors:
            raise invalid(errors)
    return TimerFilter(
        states=states,
        due_from=body.due_from,
        due_before=body.due_before,
        id_prefix=body.id_prefix,
        labels=tuple((body.labels or {}).items()),
    )


def failed_filter(body: FailedFilterBody) -> TimerFilter:
    """The filter in a redrive's body."""
    return TimerFilter(
        states=frozenset({TimerState.FAILED}),
        id_prefix=body.id_prefix,
        labels=tuple((body.labels or {}).items()),
    )


def require_supported(where: TimerFilter, store: Store) -> None:
    """Raises: Problem FILTER_UNSUPPORTED, when the store cannot filter so."""
    if where.labels and not store.capabilities.label_filter:
        raise Problem(Code.FILTER_UNSUPPORTED, "this group's store cannot filter by label")


def _first(values: list[T]) -> T | None:
    return values[0] if values else None


def _state(text: str) -> TimerState:
    try:
        return TimerState(text)
    except ValueError:
        raise ValueError(f"must be {', '.join(list(TimerState)[:-1])} or {list(TimerState)[-1]}") from None


def _prefix(text: str) -> str:
    return text if text in {".", ".."} else check_timer_id(text)


def _label(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ValueError("must be key=value")
    return check_label_name(name), check_label_value(value)
