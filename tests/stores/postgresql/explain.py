"""Plans, as data that tests ask."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import asyncpg

Node = dict[str, Any]


async def generic_plan(connection: asyncpg.Connection, statement: str) -> list[Node]:
    """The nodes of the plan that the statement has for any parameters."""
    await connection.execute(f"PREPARE plan AS {statement}")
    try:
        [[count]] = await connection.fetch(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'plan'"
        )
        values = f"({', '.join(['NULL'] * count)})" if count else ""
        [[text]] = await connection.fetch(f"EXPLAIN (FORMAT JSON) EXECUTE plan{values}")
    finally:
        await connection.execute("DEALLOCATE plan")
    return list(_nodes(json.loads(text)[0]["Plan"]))


async def executed(connection: asyncpg.Connection, statement: str, values: Sequence[object]) -> list[Node]:
    """The nodes of the plan as it ran with these values; what it wrote is rolled back."""
    transaction = connection.transaction()
    await transaction.start()
    try:
        [[text]] = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}", *values)
    finally:
        await transaction.rollback()
    return list(_nodes(json.loads(text)[0]["Plan"]))


def scans(nodes: Sequence[Node]) -> set[str]:
    """How tables are read: by which index, by place (ctid), or sequentially."""
    return {
        node.get("Index Name", f"{node['Node Type']} on {node['Relation Name']}")
        for node in nodes
        if ("Scan" in node["Node Type"] and "Relation Name" in node) or "Index Name" in node
    }


def rows_read(nodes: Sequence[Node]) -> int:
    """Rows of tables that were looked at, kept or not."""
    return int(
        sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in nodes
            if "Scan" in node["Node Type"] and ("Relation Name" in node or "Index Name" in node)
        )
    )


def buffers(nodes: Sequence[Node]) -> int:
    """Pages that the whole statement touched."""
    return int(nodes[0]["Shared Hit Blocks"] + nodes[0]["Shared Read Blocks"])


def rows_sorted(nodes: Sequence[Node]) -> int:
    return int(sum(node["Actual Rows"] * node["Actual Loops"] for node in nodes if node["Node Type"] == "Sort"))


def _nodes(plan: Node) -> Iterator[Node]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from _nodes(child)
