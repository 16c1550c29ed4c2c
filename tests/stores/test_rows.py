"""Rows as another release may have written them."""

from datetime import UTC, datetime

from durable_timer.stores.sql.rows import GROUP_COLUMNS, TAKEN_COLUMNS, RowCodec

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def taken_row(**more: object) -> tuple[object, ...]:
    columns: dict[str, object] = dict.fromkeys(TAKEN_COLUMNS)
    columns |= {"group_id": "g", "timer_id": "t", "shard": 0, "run": 1, "uid": 1, "occurrence": 1, "attempt": 0}
    columns |= {"execute_at": NOW, "due_at": NOW, "callback_url": "http://x/"}
    return (*(columns | more).values(), 0.0, None, False)


def group_row(group_id: str, spec: str) -> tuple[object, ...]:
    columns: dict[str, object] = dict.fromkeys(GROUP_COLUMNS)
    columns |= {"group_id": group_id, "owner": "file:g", "shards": 4, "pool": "default", "spec": spec}
    columns |= {"generation": 1, "state": 0, "state_since": NOW, "change": 1}
    return tuple(columns.values())


def test_a_taken_row_with_an_unknown_value_says_so() -> None:
    codec = RowCodec()
    assert codec.taken(taken_row()).fault is None
    for column, value in [("callback_format", "Future"), ("schedule", '{"cron": 5'), ("headers", '[{"x": 1}]')]:
        timer = codec.taken(taken_row(**{column: value}))
        assert timer.fault, column
        assert (timer.timer_id, timer.run) == ("t", 1)


def test_a_group_that_cannot_be_read_is_left_out() -> None:
    rows = [group_row("a", "{}"), group_row("b", '{"callback": {"format": "Future"}}'), group_row("c", "{}")]
    assert [group.group_id for group in RowCodec().groups(rows)] == ["a", "c"]
