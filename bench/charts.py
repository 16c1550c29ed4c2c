"""Charts as one SVG, written by hand: bars and lines are all that is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 760
HEIGHT: Final = 260
LEFT: Final = 70
RIGHT: Final = 130
TOP: Final = 44
BOTTOM: Final = 46
SHORT: Final = 10
"""Letters of a label that fit below a narrow bar."""

INK: Final = "#1f2933"
GRID: Final = "#d9dee5"
COLOURS: Final = ("#2563a8", "#c2571a", "#3a7d44", "#7b4b94", "#8a6d1d", "#b3324b")


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each label, with its value written above it."""

    title: str
    unit: str
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Lines:
    """A line for each name, through points (x, y)."""

    title: str
    x_unit: str
    y_unit: str
    lines: Mapping[str, Sequence[tuple[float, float]]]


Chart = Bars | Lines


def svg(charts: Sequence[Chart]) -> str:
    """All charts below each other; those without a value are left out."""
    drawn = [_bars(chart) if isinstance(chart, Bars) else _lines(chart) for chart in charts if _has_values(chart)]
    height = HEIGHT * max(1, len(drawn))
    placed = "".join(f'<g transform="translate(0 {HEIGHT * place})">{body}</g>' for place, body in enumerate(drawn))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>{placed}</svg>\n'
    )


def _has_values(chart: Chart) -> bool:
    return bool(chart.values) if isinstance(chart, Bars) else any(map(len, chart.lines.values()))


def _bars(chart: Bars) -> str:
    ticks = _ticks(0.0, max(chart.values.values()))
    y = _scale(0.0, ticks[-1], HEIGHT - BOTTOM, TOP)
    room = (WIDTH - LEFT - RIGHT) / len(chart.values)
    parts = [_frame(chart.title, chart.unit, "", ticks, y)]
    for place, (label, value) in enumerate(chart.values.items()):
        left, top = LEFT + room * (place + 0.15), y(value)
        middle = left + room * 0.35
        tall = max(0.0, y(0.0) - top)
        parts.append(_rect(left, top, room * 0.7, tall, COLOURS[0]))
        parts.append(_text(middle, top - 5, f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"))
        parts += [_text(middle, HEIGHT - BOTTOM + 15 * line, word) for line, word in enumerate(_wrapped(label), 1)]
    return "".join(parts)


def _lines(chart: Lines) -> str:
    points = [point for line in chart.lines.values() for point in line]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    y_ticks = _ticks(min(0.0, *ys, 0.0), max(ys))
    x_ticks = [tick for tick in _ticks(min(xs), max(xs)) if min(xs) <= tick <= max(xs)] or [min(xs)]
    x = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y = _scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [_frame(chart.title, chart.y_unit, chart.x_unit, y_ticks, y)]
    parts += [_text(x(tick), HEIGHT - BOTTOM + 17, f"{tick:g}") for tick in x_ticks]
    for place, (name, line) in enumerate(chart.lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        if len(line) == 1:
            parts.append(_rect(x(line[0][0]) - 2, y(line[0][1]) - 2, 4, 4, colour))
        parts.append(_rect(WIDTH - RIGHT + 14, TOP + 18 * place, 10, 10, colour))
        parts.append(_text(WIDTH - RIGHT + 30, TOP + 18 * place + 9, name, "start"))
    return "".join(parts)


def _wrapped(label: str) -> tuple[str, ...]:
    """A label in at most two lines."""
    if len(label) <= SHORT:
        return (label,)
    first, _, rest = label.partition(" ")
    return (first, rest)


def _frame(title: str, y_unit: str, x_unit: str, ticks: Sequence[float], y: Callable[[float], float]) -> str:
    parts = [f'<text x="{LEFT}" y="20" font-size="14" font-weight="600">{escape(title)}</text>']
    parts.append(_text(LEFT, TOP - 10, y_unit, "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_unit))
    for tick in ticks:
        at = f"{y(tick):.1f}"
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 8, y(tick) + 4, f"{tick:,g}", "end"))
    return "".join(parts)


def _text(x: float, y: float, words: str, anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from at most `low` to at least `high`."""
    span = (high - low) or 1.0
    magnitude = 10.0 ** floor(log10(span / 4))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if span / (magnitude * factor) <= 5)
    return [round(number * step, 10) for number in range(floor(low / step), ceil(high / step) + 1)]
