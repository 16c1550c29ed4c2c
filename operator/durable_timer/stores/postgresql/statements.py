"""PostgreSQL's own statements; pages, which are put together by their filter, are in `listing`.

Common to all of them:
- `statement_timestamp()` is the store's now: one value a statement, and stable, so that it can bound an index scan
  (a volatile function such as `clock_timestamp()` cannot).
- Batches travel as arrays through `unnest`, in the order of their keys, which is the order in which rows get locked.
- READ COMMITTED: where a statement waited for a row, its conditions are evaluated again on what the other wrote. So
  each write carries its conditions itself.
- Long answers come as one row of arrays, because a row costs more than its values.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy.dialects import postgresql

from durable_timer.stores.base import NEXT_DUE_WITHIN
from durable_timer.stores.sql.rows import (
    GROUP_COLUMNS,
    MEMBER_COLUMNS,
    SHARD_COLUMNS,
    TAKEN_COLUMNS,
    TIMER_COLUMNS,
)
from durable_timer.stores.sql.tables import timers

_DIALECT: Final = postgresql.dialect()  # type: ignore[no-untyped-call]
_COLUMN_TYPES: Final = {
    column.name: column.type.compile(dialect=_DIALECT).partition(" COLLATE")[0] for column in timers.columns
}


def _columns(names: tuple[str, ...], prefix: str) -> str:
    return ", ".join(f"{prefix}.{name}" for name in names)


def _arrays(names: tuple[str, ...]) -> str:
    return ", ".join(f"${place}::{_COLUMN_TYPES[name]}[]" for place, name in enumerate(names, 1))


TIMER: Final = _columns(TIMER_COLUMNS, "t")

# Creating

PLAIN: Final = ("group_id", "timer_id", "shard", "uid", "callback_url", "fingerprint", "payload", "execute_at")
"""The values of a timer that asks for nothing special; most do, and each array costs at both ends."""

DELAYED: Final = (*PLAIN, "delay")
"""The same where some are due after a while instead of at a time."""

SPECIAL: Final = (
    *DELAYED, "content_type", "suspended", "callback_method", "callback_format", "headers", "labels",
    "retry_policy", "schedule", "managed_by", "traceparent", "callback_timeout", "starting_deadline",
)  # fmt: skip
"""All values of a create."""


def _insert(names: tuple[str, ...]) -> str:
    given = tuple(name for name in names if name not in ("execute_at", "delay", "suspended"))
    types = {**_COLUMN_TYPES, "delay": "bigint"}
    arrays = ", ".join(f"${place}::{types[name]}[]" for place, name in enumerate(names, 1))
    delayed = "coalesce(n.execute_at, statement_timestamp() + n.delay * interval '1 microsecond')"
    at = delayed if "delay" in names else "n.execute_at"
    suspended = "n.suspended" if "suspended" in names else "0"
    return f"""
WITH made AS (
  INSERT INTO timers ({", ".join(given)}, execute_at, due_at, suspended,
    version, created_at, updated_at, occurrence, attempt, state, cancel_requested)
  SELECT {_columns(given, "n")}, {at}, greatest({at}, statement_timestamp()), {suspended},
    1, statement_timestamp(), statement_timestamp(), 1, 0, 0, false
  FROM unnest({arrays}) AS n ({", ".join(names)})
  ON CONFLICT DO NOTHING
  RETURNING uid
)
SELECT statement_timestamp(), CASE WHEN count(*) < cardinality($1::text[]) THEN coalesce(array_agg(uid), '{{}}') END FROM made
"""


CREATE_PLAIN: Final = _insert(PLAIN)
"""→ now and, unless all were inserted, the uids of those that were. Waits for others that insert the same key."""

CREATE_DELAYED: Final = _insert(DELAYED)

CREATE_SPECIAL: Final = _insert(SPECIAL)

# Rows by their keys

GET: Final = f"SELECT {TIMER} FROM timers t WHERE t.group_id = $1 AND t.timer_id = ANY ($2::text[])"

LOCK: Final = f"""
SELECT statement_timestamp(), {TIMER} FROM timers t WHERE t.group_id = $1 AND t.timer_id = ANY ($2::text[])
ORDER BY t.timer_id FOR UPDATE
"""
"""What is about to be written by a pure transition, under a lock that a take skips and a writer waits for."""

WRITE: Final = f"""
UPDATE timers t SET {", ".join(f"{name} = n.{name}" for name in TIMER_COLUMNS[2:])}
FROM unnest({_arrays(TIMER_COLUMNS)}) AS n ({", ".join(TIMER_COLUMNS)})
WHERE t.group_id = n.group_id AND t.timer_id = n.timer_id
"""
"""Whole rows, locked before."""

MOVED: Final = (
    "group_id", "timer_id", "version", "state", "execute_at", "due_at", "occurrence", "attempt", "updated_at",
    "first_attempt_at", "taken_at", "suspended", "managed_by", "executed_at", "cancel_requested",
)  # fmt: skip
"""What run, redrive and a stop write: payloads are not written again."""

MOVE: Final = f"""
UPDATE timers t SET {", ".join(f"{name} = n.{name}" for name in MOVED[2:])}
FROM unnest({_arrays(MOVED)}) AS n ({", ".join(MOVED)})
WHERE t.group_id = n.group_id AND t.timer_id = n.timer_id
"""

DELETE: Final = """
WITH gone AS (
  DELETE FROM timers t
  USING unnest($2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS n (timer_id, uid, version, place)
  WHERE t.group_id = $1 AND t.timer_id = n.timer_id AND t.state <> 1 AND ($5 OR t.managed_by IS NULL)
    AND (n.uid IS NULL OR t.uid = n.uid AND t.version = n.version)
  RETURNING n.place
)
SELECT CASE WHEN count(*) < cardinality($2::text[]) THEN coalesce(array_agg(place - 1), '{}') END FROM gone
"""
"""The common case of a delete. → None when all are gone, else which. What it left is looked at again under a lock."""

DELETE_LOCKED: Final = "DELETE FROM timers WHERE group_id = $1 AND timer_id = ANY ($2::text[])"

# The engine's

_QUEUE: Final = "t.group_id = n.group_id AND t.shard = n.shard AND t.state = 0 AND t.suspended <> 1"
_MINE: Final = "timer_shards s ON s.group_id = n.group_id AND s.shard = n.shard AND s.epoch = n.epoch AND s.owner = $8"
_NEAR: Final = f"statement_timestamp() + $9::interval + interval '{NEXT_DUE_WITHIN.total_seconds()} s'"
_REMAINING: Final = "extract(epoch FROM t.due_at - statement_timestamp())::float8"
_AGE: Final = "extract(epoch FROM statement_timestamp() - t.first_attempt_at)::float8"
_TOO_LATE: Final = """coalesce(t.taken_at = statement_timestamp()
      AND t.execute_at + t.starting_deadline * interval '1 microsecond' < statement_timestamp(), false)"""
_NO_ROW: Final = ", ".join(f"NULL::{_COLUMN_TYPES[name]}" for name in TAKEN_COLUMNS)

TAKE: Final = f"""
WITH named AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::int[], $3::bigint[], $4::timestamptz[], $5::int[], $6::int[], $7::int[])
    WITH ORDINALITY AS n (group_id, shard, epoch, floor, in_shard, part, in_group, place)
),
near AS MATERIALIZED (
  SELECT n.place, n.part, n.in_group, n.epoch, q.at, q.due_at, q.ready AND q.rank <= n.in_shard AS fits
  FROM named n JOIN {_MINE}
  CROSS JOIN LATERAL (
    SELECT b.*, row_number() OVER () AS rank FROM (
      (SELECT t.ctid AS at, t.due_at, true AS ready FROM timers t WHERE {_QUEUE}
         AND t.due_at >= coalesce(n.floor, '-infinity') AND t.due_at <= statement_timestamp() + $9::interval
       ORDER BY t.due_at, t.timer_id LIMIT n.in_shard + 1)
      UNION ALL
      (SELECT t.ctid, t.due_at, false FROM timers t WHERE {_QUEUE}
         AND t.due_at > statement_timestamp() + $9::interval AND t.due_at <= {_NEAR}
       ORDER BY t.due_at, t.timer_id LIMIT 1)
      LIMIT n.in_shard + 1
    ) b
  ) q
),
ranked AS MATERIALIZED (
  SELECT place, epoch, at, due_at,
    fits AND row_number() OVER (PARTITION BY part ORDER BY NOT fits, due_at) <= in_group AS chosen
  FROM near
),
fence AS MATERIALIZED (
  SELECT n.place FROM named n JOIN {_MINE}
  WHERE n.place = ANY (ARRAY(SELECT DISTINCT place FROM ranked WHERE chosen)) ORDER BY n.place FOR SHARE OF s
),
held AS MATERIALIZED (
  SELECT t.ctid AS at, r.epoch FROM ranked r JOIN timers t ON t.ctid = r.at
  WHERE r.chosen AND r.place = ANY (ARRAY(SELECT place FROM fence)) AND t.state = 0 AND t.suspended <> 1
  FOR NO KEY UPDATE OF t SKIP LOCKED
),
taken AS (
  UPDATE timers t SET state = 1, run = $10, taken_epoch = h.epoch, version = t.version + 1,
    taken_at = coalesce(t.taken_at, statement_timestamp()), updated_at = statement_timestamp()
  FROM held h WHERE t.ctid = h.at
  RETURNING {_columns(TAKEN_COLUMNS, "t")}, {_REMAINING} AS remaining, {_AGE} AS age, {_TOO_LATE} AS too_late
)
SELECT {_NO_ROW}, NULL::float8, NULL::float8, NULL::boolean, statement_timestamp() AS now, places, next_due, chosen
FROM (
  SELECT array_agg(place - 1) AS places, array_agg(chosen) AS chosen,
    array_agg(extract(epoch FROM next_due_at - statement_timestamp())::float8) AS next_due
  FROM (
    SELECT place, count(*) FILTER (WHERE chosen) AS chosen, min(due_at) FILTER (WHERE NOT chosen) AS next_due_at
    FROM ranked GROUP BY place
  ) by_shard
) shards
UNION ALL
SELECT {", ".join(TAKEN_COLUMNS)}, remaining, age, too_late, NULL, NULL, NULL, NULL FROM taken
"""
"""Take: first a row with now and, for shards with anything near (by their place among the named ones), the seconds to
their next due and how many timers were chosen; then the timers.

`near` reads, per claimed shard, what fits its bound and one more row, whose time is the shard's next due: two descents
of the due index and not a row beyond, however many are due or pending. The second one ends at a time, too: while a
transaction is held open elsewhere, the entries of all rows that were moved on or deleted since may lie before the first
living row. Nothing is locked up to there. `ranked` applies the group's limit, oldest first. Only then are locks taken,
for what is returned alone: the shard rows FOR SHARE, in key order and with epoch and owner evaluated again (a claim that
committed meanwhile leaves nothing; one that comes later waits for this take to commit), then the timers, skipping what
others hold. A timer that was changed or taken since the snapshot has another place (ctid) and falls out; that is what
`chosen` is counted for. `taken` writes by place and never waits. A shard without anything due is neither locked nor
written.
"""

_ENDED: Final = "o.kind <= 1"
_NEXT: Final = "o.kind = 4"
_OUTCOMES: Final = """unnest($1::text[], $2::text[], $3::bigint[], $4::smallint[], $5::int[], $6::bigint[], $7::bigint[],
    $8::timestamptz[], $9::text[], $10::text[], $11::int[], $12::boolean[])
  WITH ORDINALITY AS o (group_id, timer_id, run, kind, attempt, began, delay, at, last_outcome, last_error, last_status,
    forget, place)"""
_SETTLES: Final = "t.group_id = o.group_id AND t.timer_id = o.timer_id AND t.run = o.run"
_APPLIED: Final = """
SELECT CASE WHEN count(*) < cardinality($1::text[]) THEN coalesce(array_agg(place - 1), '{}') END"""

SETTLE: Final = f"""
WITH settled AS (
  UPDATE timers t SET
    state = CASE o.kind WHEN 0 THEN 2 WHEN 1 THEN 3 ELSE 0 END,
    run = NULL, taken_epoch = NULL, version = t.version + 1, updated_at = statement_timestamp(),
    execute_at = CASE WHEN {_NEXT} THEN o.at ELSE t.execute_at END,
    due_at = CASE WHEN {_NEXT} THEN greatest(o.at, statement_timestamp())
      WHEN o.kind = 2 OR o.kind = 3 AND o.delay > 0
        THEN statement_timestamp() + coalesce(o.delay, 0) * interval '1 microsecond'
      ELSE t.due_at END,
    occurrence = CASE WHEN {_NEXT} THEN t.occurrence + 1 ELSE t.occurrence END,
    attempt = CASE WHEN {_NEXT} THEN 0 WHEN o.kind = 3 THEN t.attempt ELSE o.attempt END,
    first_attempt_at = CASE WHEN {_NEXT} THEN NULL WHEN o.kind = 3 THEN t.first_attempt_at
      ELSE coalesce(t.first_attempt_at, statement_timestamp() - o.began * interval '1 microsecond') END,
    taken_at = CASE WHEN {_NEXT} THEN NULL ELSE t.taken_at END,
    executed_at = CASE WHEN {_ENDED} THEN statement_timestamp() END,
    suspended = CASE WHEN t.suspended = 2 AND o.kind NOT IN (2, 3) THEN 1 ELSE t.suspended END,
    last_run_at = CASE WHEN o.kind IN (2, 3) THEN t.last_run_at ELSE statement_timestamp() END,
    last_outcome = CASE o.kind WHEN 0 THEN coalesce(o.last_outcome, 'completed')
      WHEN 1 THEN coalesce(o.last_outcome, 'failed') WHEN 4 THEN o.last_outcome ELSE t.last_outcome END,
    last_error = CASE WHEN o.kind = 3 THEN coalesce(o.last_error, t.last_error) ELSE o.last_error END,
    last_status = CASE WHEN o.kind = 3 THEN t.last_status ELSE o.last_status END
  FROM {_OUTCOMES}
  WHERE {_SETTLES} AND NOT t.cancel_requested AND NOT (coalesce(o.forget, false) AND {_ENDED} AND t.managed_by IS NULL)
  RETURNING o.place
)
{_APPLIED} FROM settled
"""
"""All kinds of outcomes at once (`planning.transitions.settled` in SQL). → None when all were applied, else which."""

SETTLE_GONE: Final = f"""
WITH gone AS (
  DELETE FROM timers t USING {_OUTCOMES}
  WHERE {_SETTLES} AND (t.cancel_requested OR coalesce(o.forget, false) AND {_ENDED} AND t.managed_by IS NULL)
  RETURNING o.place
)
{_APPLIED} FROM gone
"""

SWEEP: Final = """
WITH mine AS MATERIALIZED (
  SELECT s.group_id, s.shard, s.epoch, s.drains,
    CASE WHEN $8::interval IS NULL OR s.drains <> '[]' AND EXISTS (
      SELECT FROM jsonb_to_recordset(s.drains::jsonb) AS d (until bigint)
      WHERE $10::timestamptz IS NULL OR d.until > extract(epoch FROM $10::timestamptz - $9::interval) * 1000000)
    THEN '-infinity' ELSE statement_timestamp() - $8::interval END AS floor
  FROM unnest($1::text[], $2::int[], $3::bigint[]) AS n (group_id, shard, epoch)
  JOIN timer_shards s ON s.group_id = n.group_id AND s.shard = n.shard AND s.epoch = n.epoch AND s.owner = $4
),
spared AS MATERIALIZED (
  SELECT m.group_id, m.shard, d.epoch
  FROM mine m CROSS JOIN LATERAL jsonb_to_recordset(m.drains::jsonb) AS d (epoch bigint, incarnation text, until bigint)
  JOIN timer_members e ON e.incarnation = d.incarnation AND NOT e.dead
  WHERE m.drains <> '[]' AND ($10::timestamptz IS NULL OR d.until >= extract(epoch FROM $10::timestamptz) * 1000000)
),
lost AS MATERIALIZED (
  SELECT r.at, r.run
  FROM mine m CROSS JOIN LATERAL (
    SELECT t.ctid AS at, t.run FROM timers t
    WHERE t.group_id = m.group_id AND t.shard = m.shard AND t.state = 1 AND t.updated_at >= m.floor
      AND t.run <> ALL ($5::bigint[])
      AND (t.taken_epoch = m.epoch AND t.updated_at < statement_timestamp() - $6::interval
        OR t.taken_epoch < m.epoch AND NOT EXISTS (
          SELECT FROM spared d WHERE d.group_id = t.group_id AND d.shard = t.shard AND d.epoch = t.taken_epoch))
    ORDER BY t.updated_at LIMIT $7::int
  ) r
  LIMIT $7::int
),
found AS MATERIALIZED (
  SELECT t.ctid AS at, t.cancel_requested FROM lost l JOIN timers t ON t.ctid = l.at
  WHERE t.state = 1 AND t.run = l.run FOR UPDATE OF t SKIP LOCKED
),
recovered AS (
  UPDATE timers t SET state = 0, run = NULL, taken_epoch = NULL, version = t.version + 1,
    updated_at = statement_timestamp()
  FROM found f WHERE t.ctid = f.at AND NOT f.cancel_requested
  RETURNING t.group_id, t.shard
),
cancelled AS (
  DELETE FROM timers t USING found f WHERE t.ctid = f.at AND f.cancel_requested RETURNING t.shard
)
SELECT group_id, shard, count(*), NULL::bigint AS found FROM recovered GROUP BY group_id, shard
UNION ALL SELECT NULL, NULL, count(*), (SELECT count(*) FROM lost) FROM cancelled
"""
"""Recovery, of rows written no earlier than the shard's floor. The claims are read, not locked: whoever claims later
sweeps the same rows, and a row is recovered once. A lateral for each shard, as a join may read all shards' entries for
each of them, when the statistics know of no running rows."""


def _purge(state: int) -> str:
    """Of one state, written out: a parameter would not be known to lie within the partial index."""
    return f"""
WITH gone AS (
  DELETE FROM timers WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM timers
    WHERE group_id = $1 AND state = {state} AND executed_at < statement_timestamp() - $2::interval
      AND managed_by IS NULL
    ORDER BY executed_at LIMIT $3::int FOR UPDATE SKIP LOCKED))
  RETURNING 1
)
SELECT count(*) FROM gone
"""


PURGE_COMPLETED: Final = _purge(2)
PURGE_FAILED: Final = _purge(3)

PURGE_GROUP: Final = """
WITH gone AS (
  DELETE FROM timers WHERE ctid = ANY (ARRAY(
    SELECT t.ctid FROM timers t
    WHERE t.group_id = $1 AND EXISTS (SELECT FROM timer_groups g WHERE g.group_id = $1 AND g.state = 2)
    LIMIT $2::int FOR UPDATE OF t SKIP LOCKED))
  RETURNING 1
)
SELECT count(*) FROM gone
"""

NOW: Final = "SELECT statement_timestamp()"

NOTIFY: Final = "SELECT pg_notify($1, n.payload) FROM unnest($2::text[]) AS n (payload)"

ACTIVE_GROUPS: Final = "SELECT group_id FROM timer_groups WHERE state = 0"

GROUP: Final = _columns(GROUP_COLUMNS, "g")
MEMBER: Final = _columns(MEMBER_COLUMNS, "m")
SHARD: Final = _columns(SHARD_COLUMNS, "s")

# Groups. Lock order everywhere: the group's row, the counter, the pool, new shard rows; of what is there already, shard
# rows in key order come before the pool.

GROUPS: Final = f"""
SELECT c.value, {GROUP} FROM timer_counters c LEFT JOIN timer_groups g ON g.change > $1
WHERE c.name = 'change' ORDER BY g.change
"""
"""One snapshot of the counter and the groups; a registration raises it in its own transaction, so none is left out."""

LOCK_GROUP: Final = f"SELECT statement_timestamp(), {GROUP} FROM timer_groups g WHERE g.group_id = $1 FOR UPDATE"

NEXT_CHANGE: Final = "UPDATE timer_counters SET value = value + 1 WHERE name = 'change' RETURNING value"

INSERT_GROUP: Final = f"""
INSERT INTO timer_groups AS g (group_id, owner, shards, pool, spec, generation, state, state_since, change)
VALUES ($1, $2, $3, $4, $5, $6, 0, statement_timestamp(), 0)
ON CONFLICT DO NOTHING RETURNING statement_timestamp(), {GROUP}
"""

WRITE_GROUP: Final = f"""
UPDATE timer_groups g SET owner = $2, shards = $3, pool = $4, spec = $5, generation = $6, state = $7,
  state_since = CASE WHEN g.state = $7 THEN g.state_since ELSE statement_timestamp() END,
  emptied_at = CASE WHEN $8 THEN statement_timestamp() WHEN $7 = 0 THEN NULL ELSE g.emptied_at END,
  change = $9
WHERE g.group_id = $1 RETURNING {GROUP}
"""
"""$8: whether the group was found empty. An accepted registration (state 0) clears that."""

TOUCH_POOL: Final = """
INSERT INTO timer_pools AS p (pool, shards_token) VALUES ($1, 1)
ON CONFLICT (pool) DO UPDATE SET shards_token = p.shards_token + 1
"""

ADD_SHARDS: Final = """
INSERT INTO timer_shards (group_id, shard, plan_term)
SELECT $1, n, (SELECT term FROM timer_pools WHERE pool = $3) FROM generate_series(0, $2::int - 1) n
ON CONFLICT (group_id, shard) DO UPDATE SET plan_term = excluded.plan_term, assigned_to = NULL WHERE $4
"""
"""$4: `planning.registration.moves`."""

# Members

JOIN: Final = """
WITH earlier AS (
  UPDATE timer_members SET dead = true, dead_since = statement_timestamp()
  WHERE host = $4 AND NOT dead AND incarnation <> $1
)
INSERT INTO timer_members (incarnation, name, pool, host, beat, draining, dead, report)
VALUES ($1, $2, $3, $4, $5, $6, false, $7) ON CONFLICT DO NOTHING
"""

BEAT: Final = f"""
WITH me AS (
  UPDATE timer_members m SET beat = greatest(m.beat, $2), draining = m.draining OR $3, report = coalesce($4, m.report)
  WHERE m.incarnation = $1 AND NOT m.dead
  RETURNING {MEMBER}
), token AS (SELECT p.shards_token FROM me JOIN timer_pools p ON p.pool = me.pool)
SELECT coalesce((SELECT shards_token FROM token), 0), me.* FROM me
UNION ALL
SELECT 0, {MEMBER} FROM me JOIN timer_members m ON m.pool = me.pool AND m.incarnation <> me.incarnation
"""
"""First one's own row, as it was just written. No row at all: refused."""

DECLARE_DEAD: Final = """
UPDATE timer_members SET dead = true, dead_since = statement_timestamp()
WHERE incarnation = $1 AND beat = $2 AND NOT dead
"""

LIVES: Final = "SELECT FROM timer_members WHERE incarnation = $1 AND NOT dead"

LEAVE: Final = "DELETE FROM timer_members WHERE incarnation = $1"

FORGET_DEAD: Final = """
DELETE FROM timer_members WHERE incarnation = ANY (ARRAY(
  SELECT incarnation FROM timer_members WHERE dead_since < statement_timestamp() - interval '10 minutes'
  FOR UPDATE SKIP LOCKED))
"""

MEMBERS: Final = f"SELECT {MEMBER} FROM timer_members m WHERE m.pool = $1 ORDER BY m.incarnation"

# Shards

SHARDS: Final = f"""
SELECT coalesce((SELECT shards_token FROM timer_pools WHERE pool = $1), 0), s.*
FROM (VALUES (1)) one LEFT JOIN (
  SELECT {SHARD} FROM timer_groups g JOIN timer_shards s ON s.group_id = g.group_id
  WHERE g.pool = $1 AND (g.state = 0 AND s.shard < g.shards OR s.owner IS NOT NULL)
) s ON true
ORDER BY s.group_id, s.shard
"""
"""The rows and the token in one snapshot; a row without a shard where there are none."""

_TOUCHED: Final = """touched AS (
  UPDATE timer_pools p SET shards_token = p.shards_token + 1
  WHERE p.pool IN (SELECT g.pool FROM written w JOIN timer_groups g ON g.group_id = w.group_id)
)"""
"""Raises the token of the pools whose shard rows were written: last, so that the pool's row is held for an instant."""

_FORGOTTEN: Final = "(d ->> 'until')::bigint <= extract(epoch FROM statement_timestamp() - $5::interval) * 1000000"

CLAIM: Final = f"""
WITH free AS MATERIALIZED (
  SELECT s.group_id, s.shard, n.place
  FROM unnest($1::text[], $2::int[], $3::bigint[]) WITH ORDINALITY AS n (group_id, shard, epoch, place)
  JOIN timer_shards s ON s.group_id = n.group_id AND s.shard = n.shard
  WHERE s.epoch = n.epoch
    AND (s.owner IS NULL OR s.owner = $4
      OR NOT EXISTS (SELECT FROM timer_members m WHERE m.incarnation = s.owner AND NOT m.dead))
    AND EXISTS (SELECT FROM timer_members m WHERE m.incarnation = $4 AND NOT m.dead)
  ORDER BY s.group_id, s.shard FOR UPDATE OF s
),
written AS (
  UPDATE timer_shards s SET epoch = s.epoch + 1, owner = $4,
    drains = CASE WHEN s.drains = '[]' THEN s.drains ELSE coalesce(
      (SELECT jsonb_agg(d)::text FROM jsonb_array_elements(s.drains::jsonb) d WHERE NOT {_FORGOTTEN}), '[]') END
  FROM free f WHERE s.group_id = f.group_id AND s.shard = f.shard
  RETURNING f.place, s.epoch, s.group_id
),
{_TOUCHED}
SELECT place - 1, epoch FROM written
"""
"""Waits for takes under way on these shards (they hold the rows FOR SHARE), then looks at epoch and owner again."""

RELEASE: Final = f"""
WITH held AS MATERIALIZED (
  SELECT s.group_id, s.shard, n.place
  FROM unnest($1::text[], $2::int[], $3::bigint[]) WITH ORDINALITY AS n (group_id, shard, epoch, place)
  JOIN timer_shards s ON s.group_id = n.group_id AND s.shard = n.shard
  WHERE s.epoch = n.epoch AND s.owner = $4
  ORDER BY s.group_id, s.shard FOR UPDATE OF s
),
written AS (
  UPDATE timer_shards s SET owner = NULL, drains = (s.drains::jsonb || jsonb_build_object('epoch', s.epoch,
    'incarnation', $4::text,
    'until', (extract(epoch FROM statement_timestamp() + $5::interval) * 1000000)::bigint))::text
  FROM held h WHERE s.group_id = h.group_id AND s.shard = h.shard
  RETURNING h.place, s.group_id
),
{_TOUCHED}
SELECT place - 1 FROM written
"""

LOCK_SHARDS: Final = """
SELECT s.shard FROM timer_shards s WHERE s.group_id IN (SELECT group_id FROM timer_groups WHERE pool = $1)
ORDER BY s.group_id, s.shard FOR UPDATE
"""

RAISE_TERM: Final = """
INSERT INTO timer_pools AS p (pool, term, holder, shards_token) VALUES ($1, 1, $2, 1)
ON CONFLICT (pool) DO UPDATE SET term = p.term + 1, holder = $2, shards_token = p.shards_token + 1
RETURNING term
"""

STAMP_TERM: Final = """
UPDATE timer_shards SET plan_term = $2
WHERE group_id IN (SELECT group_id FROM timer_groups WHERE pool = $1) AND plan_term < $2
"""

ASSIGN: Final = f"""
WITH planned AS MATERIALIZED (
  SELECT s.group_id, s.shard, n.assigned_to
  FROM unnest($1::text[], $2::int[], $3::text[]) AS n (group_id, shard, assigned_to)
  JOIN timer_shards s ON s.group_id = n.group_id AND s.shard = n.shard
  JOIN timer_groups g ON g.group_id = s.group_id AND g.pool = $4
  WHERE s.plan_term <= $5 AND s.assigned_to IS DISTINCT FROM n.assigned_to
  ORDER BY s.group_id, s.shard FOR UPDATE OF s
),
written AS (
  UPDATE timer_shards s SET assigned_to = p.assigned_to, plan_term = $5
  FROM planned p WHERE s.group_id = p.group_id AND s.shard = p.shard
  RETURNING s.group_id
),
{_TOUCHED}
SELECT count(*) FROM written
"""

# Counts

_PENDING: Final = "t.group_id = $1 AND t.state = 0"

COUNTS: Final = f"""
SELECT
  (SELECT least($2::int,
     (SELECT count(*) FROM (SELECT FROM timers t WHERE {_PENDING} AND t.suspended <> 1 LIMIT $2::int) x)
     + (SELECT count(*) FROM (SELECT FROM timers t WHERE {_PENDING} AND t.suspended = 1 LIMIT $2::int) x))),
  (SELECT count(*) FROM (SELECT FROM timers t WHERE t.group_id = $1 AND t.state = 1 LIMIT $2::int) x),
  (SELECT count(*) FROM (SELECT FROM timers t WHERE t.group_id = $1 AND t.state >= 2 AND t.state = 2 LIMIT $2::int) x),
  (SELECT count(*) FROM (SELECT FROM timers t WHERE t.group_id = $1 AND t.state >= 2 AND t.state = 3 LIMIT $2::int) x),
  (SELECT count(*) FROM (SELECT FROM timer_shards s CROSS JOIN LATERAL (
     SELECT FROM timers t WHERE {_PENDING} AND t.suspended <> 1 AND t.shard = s.shard
       AND t.due_at <= statement_timestamp() LIMIT $2::int) d
     WHERE s.group_id = $1 LIMIT $2::int) x),
  (SELECT min(o.due_at) FROM timer_shards s CROSS JOIN LATERAL (
     SELECT t.due_at FROM timers t WHERE {_PENDING} AND t.suspended <> 1 AND t.shard = s.shard
       AND t.due_at <= statement_timestamp() ORDER BY t.due_at, t.timer_id LIMIT 1) o
   WHERE s.group_id = $1)
"""

_ESTIMATE: Final = "EXPLAIN (FORMAT JSON) SELECT FROM timers WHERE group_id = {group} AND "
ESTIMATES: Final = {
    "pending": _ESTIMATE + "state = 0",
    "running": _ESTIMATE + "state = 1",
    "completed": _ESTIMATE + "state = 2",
    "failed": _ESTIMATE + "state = 3",
    "due": _ESTIMATE + "state = 0 AND suspended <> 1 AND due_at <= statement_timestamp()",
}
"""The planner's figure, from statistics alone. {group} is a quoted literal."""
