"""Charts as one SVG, written by hand: bars and lines are all that is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

WIDTH: Final = 860
HEIGHT: Final = 260
HEAD: Final = 34
LEFT: Final = 80
RIGHT: Final = 190
TOP: Final = 48
BOTTOM: Final = 46
SHORT: Final = 10
"""Letters of a label that fit below a narrow bar."""

WIDEST: Final = 90
"""Of a bar."""

INK: Final = "#1f2933"
FAINT: Final = "#5f6b7a"
GRID: Final = "#d9dee5"
MARK: Final = "#e3a3ae"
COLOURS: Final = ("#2563a8", "#c2571a", "#3a7d44", "#7b4b94", "#8a6d1d", "#b3324b", "#3b8ea5", "#5f6b7a")

Points = Sequence[tuple[float, float]]
Place = Callable[[float], float]


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar for each label, with its value written above it."""

    title: str
    unit: str
    values: Mapping[str, float]
    x_unit: str = ""


@dataclass(frozen=True, slots=True)
class Lines:
    """A line for each name, through points (x, y), or the points alone; `marks` are those x at which `mark` happened.

    The axis goes over the points, and over `span` too. On a logarithmic one what is not above zero is drawn at its foot.
    """

    title: str
    x_unit: str
    y_unit: str
    lines: Mapping[str, Points]
    mark: str = ""
    marks: Sequence[float] = ()
    span: tuple[float, ...] = ()
    dots: bool = False
    logarithmic: bool = False


Chart = Bars | Lines


def svg(charts: Sequence[Chart], heading: str = "") -> str:
    """All charts below each other, under a line of words; those without a value are left out."""
    drawn = [_bars(chart) if isinstance(chart, Bars) else _lines(chart) for chart in charts if _has_values(chart)]
    head = HEAD if heading else 0
    height = head + HEIGHT * max(1, len(drawn))
    placed = "".join(
        f'<g transform="translate(0 {head + HEIGHT * place})">{body}</g>' for place, body in enumerate(drawn)
    )
    words = f'<text x="12" y="21" fill="{FAINT}">{escape(heading)}</text>' if heading else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="{INK}">'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>{words}{placed}</svg>\n'
    )


def _has_values(chart: Chart) -> bool:
    return bool(chart.values) if isinstance(chart, Bars) else any(map(len, chart.lines.values()))


def _bars(chart: Bars) -> str:
    ticks = _ticks(0.0, max(chart.values.values()))
    y = _scale(0.0, ticks[-1], HEIGHT - BOTTOM, TOP)
    room = (WIDTH - LEFT - RIGHT) / len(chart.values)
    parts = [_frame(chart.title, chart.unit, chart.x_unit, ticks, y)]
    for place, (label, value) in enumerate(chart.values.items()):
        middle, wide, top = LEFT + room * (place + 0.5), min(WIDEST, room * 0.7), y(value)
        parts.append(_rect(middle - wide / 2, top, wide, max(0.0, y(0.0) - top), COLOURS[0]))
        parts.append(_text(middle, top - 5, f"{value:,.4g}" if value < 1e4 else f"{value:,.0f}"))
        parts += [_text(middle, HEIGHT - BOTTOM + 15 * line, word) for line, word in enumerate(_wrapped(label), 1)]
    return "".join(parts)


def _lines(chart: Lines) -> str:
    points = [point for line in chart.lines.values() for point in line]
    xs = [*(x for x, _ in points), *chart.marks, *chart.span]
    x = _scale(min(xs), max(xs), LEFT, WIDTH - RIGHT)
    y_ticks, y = _heights([value for _, value in points], logarithmic=chart.logarithmic)
    parts = [_upright(x(mark), MARK) for mark in chart.marks]
    parts.append(_frame(chart.title, chart.y_unit, chart.x_unit, y_ticks, y))
    for tick in [tick for tick in _ticks(min(xs), max(xs)) if min(xs) <= tick <= max(xs)] or [min(xs)]:
        parts.append(_text(x(tick), HEIGHT - BOTTOM + 17, f"{tick:,g}"))
        parts.append(
            f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 4}" stroke="{INK}"/>'
        )
    for place, (name, line) in enumerate(chart.lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        placed = [(x(a), y(b)) for a, b in line]
        if chart.dots or len(placed) == 1:
            parts += [_rect(a - 2.5, b - 2.5, 5, 5, colour) for a, b in placed]
        else:
            path = " ".join(f"{a:.1f},{b:.1f}" for a, b in _thinned(placed))
            parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(_rect(WIDTH - RIGHT + 14, TOP + 18 * place, 10, 10, colour))
        parts.append(_text(WIDTH - RIGHT + 30, TOP + 18 * place + 9, name, "start"))
    if chart.marks:
        parts.append(_upright(WIDTH - RIGHT + 19, MARK, TOP + 18 * len(chart.lines), 12))
        parts.append(_text(WIDTH - RIGHT + 30, TOP + 18 * len(chart.lines) + 10, chart.mark, "start"))
    return "".join(parts)


def _heights(values: Sequence[float], *, logarithmic: bool) -> tuple[list[float], Place]:
    """The ticks of the upright axis, and where a value lies."""
    above = [value for value in values if value > 0]
    if not logarithmic or not above:
        ticks = _ticks(min(0.0, *values, 0.0), max(values))
        return ticks, _scale(ticks[0], ticks[-1], HEIGHT - BOTTOM, TOP)
    low, high = floor(log10(min(above))), ceil(log10(max(above)))
    high = max(high, low + 1)
    place = _scale(low, high, HEIGHT - BOTTOM, TOP)
    return [10.0**power for power in range(low, high + 1)], lambda value: place(log10(max(value, 10.0**low)))


def _thinned(placed: Points) -> Points:
    """Lowest and highest point of each pixel's width, where there are more points than that."""
    if len(placed) <= 2 * (WIDTH - LEFT - RIGHT):
        return placed
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in placed:
        columns.setdefault(int(point[0]), []).append(point)
    ends = (sorted({min(column, key=_height), max(column, key=_height)}) for column in columns.values())
    return [point for pair in ends for point in pair]


def _height(point: tuple[float, float]) -> float:
    return point[1]


def _wrapped(label: str) -> tuple[str, ...]:
    """A label in at most two lines, cut as near to its middle as can be."""
    cuts = [place for place, letter in enumerate(label) if letter == " "]
    if len(label) <= SHORT or not cuts:
        return (label,)
    cut = min(cuts, key=lambda place: abs(place - len(label) / 2))
    return (label[:cut], label[cut + 1 :])


def _frame(title: str, y_unit: str, x_unit: str, ticks: Sequence[float], y: Place) -> str:
    parts = [f'<text x="{LEFT}" y="20" font-size="14" font-weight="600">{escape(title)}</text>']
    parts.append(_text(LEFT, TOP - 10, y_unit, "start", FAINT))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x_unit, colour=FAINT))
    for tick in ticks:
        at = f"{y(tick):.1f}"
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}" stroke="{INK if tick == 0 else GRID}"/>'
        )
        parts.append(_text(LEFT - 8, y(tick) + 4, f"{tick:,g}", "end"))
    return "".join(parts)


def _upright(x: float, colour: str, top: float = TOP, tall: float = HEIGHT - BOTTOM - TOP) -> str:
    return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + tall}" stroke="{colour}" stroke-dasharray="3 2"/>'


def _text(x: float, y: float, words: str, anchor: str = "middle", colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def _rect(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def _scale(low: float, high: float, start: float, end: float) -> Place:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _ticks(low: float, high: float) -> list[float]:
    """About five or six round numbers from at most `low` to at least `high`."""
    span = (high - low) or 1.0
    magnitude = 10.0 ** floor(log10(span / 4))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if span / (magnitude * factor) <= 6)
    return [round(number * step, 10) for number in range(floor(low / step), ceil(high / step) + 1)]
