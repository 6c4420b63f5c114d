"""Line charts as inline SVG, drawn by hand: a few kilobytes each, in the page's own colours.

A chart has one x axis (linear, or logarithmic) and one y axis from 0 (or logarithmic). Series are named and
take the page's classes `s0`, `s1`, ...; bands mark the stages behind the lines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 620, 270
LEFT, RIGHT, TOP, BOTTOM = 58, 24, 34, 40
LINE = 14  # of text, with its margin

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Series:
    name: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Chart:
    """What to draw. `bands` and `shades` (on top of them) are (name, from, to) in x; `lines` are
    (name, y), marks such as a target."""

    title: str
    series: Sequence[Series]
    x_label: str
    y_text: Callable[[float], str]
    x_text: Callable[[float], str] = lambda value: f"{value:g}"
    x_log: bool = False
    y_log: bool = False
    bands: Sequence[tuple[str, float, float]] = ()
    shades: Sequence[tuple[str, float, float]] = ()
    lines: Sequence[tuple[str, float]] = ()
    x_ticks: Sequence[float] = field(default_factory=tuple)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` up to at least `high`."""
    span = max(high - low, 1e-12)
    raw = span / count
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= raw * (1 - 1e-9))
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def decade_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that enclose the range."""
    first, last = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
    return [10.0**i for i in range(first, max(last, first + 1) + 1)]


class _Axis:
    """Maps values to pixels."""

    def __init__(self, ticks: Sequence[float], start: float, end: float, log: bool) -> None:
        self.ticks, self._log = ticks, log
        self._low, self._high = self._value(ticks[0]), self._value(ticks[-1])
        self._start, self._end = start, end

    def _value(self, value: float) -> float:
        return math.log10(max(value, 1e-9)) if self._log else value

    def at(self, value: float) -> float:
        share = (self._value(value) - self._low) / ((self._high - self._low) or 1)
        return self._start + min(max(share, 0.0), 1.0) * (self._end - self._start)


def _axes(chart: Chart) -> tuple[_Axis, _Axis]:
    points = [point for series in chart.series for point in series.points]
    edges = [edge for _, start, end in chart.bands for edge in (start, end)]
    xs = edges or [x for x, _ in points] or [0.0, 1.0]
    ys = [y for _, y in points if not chart.y_log or y > 0] + [y for _, y in chart.lines] or [1.0]
    if chart.x_ticks:
        x_ticks = list(chart.x_ticks)
    elif chart.x_log:
        x_ticks = decade_ticks(max(min(xs), 1.0), max(max(xs), 10.0))
    else:
        x_ticks = nice_ticks(min(xs), max(max(xs), min(xs) + 1e-9), 8)
        if chart.bands and x_ticks[-1] > max(xs):
            x_ticks = _ended(x_ticks, max(xs))
    if chart.y_log:
        y_ticks = decade_ticks(max(min(ys), 1e-3), max(ys))
    else:
        y_ticks = nice_ticks(0.0, max(max(ys), 1e-9))
    return (
        _Axis(x_ticks, LEFT, WIDTH - RIGHT, chart.x_log),
        _Axis(y_ticks, HEIGHT - BOTTOM, TOP, chart.y_log),
    )


def _ended(ticks: Sequence[float], end: float) -> list[float]:
    """With `end` for the last tick, and without the one before it where their labels would touch."""
    *before, last = ticks
    step = last - before[-1]
    if len(before) > 1 and end - before[-1] < step / 2:
        before.pop()
    return [*before, end]


def _path(points: Sequence[Point], x: _Axis, y: _Axis) -> str:
    return " ".join(f"{'L' if i else 'M'}{x.at(px):.1f} {y.at(py):.1f}" for i, (px, py) in enumerate(points))


def _grid(chart: Chart, x: _Axis, y: _Axis) -> list[str]:
    parts = []
    for tick in y.ticks:
        at = y.at(tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text class="y" x="{LEFT - 7}" y="{at + 4:.1f}">{escape(chart.y_text(tick))}</text>')
    floor = HEIGHT - BOTTOM
    for tick in x.ticks:
        at = x.at(tick)
        parts.append(
            f'<line class="tick" x1="{at:.1f}" y1="{floor}" x2="{at:.1f}" y2="{floor + 4}"/>'
            f'<text class="x" x="{at:.1f}" y="{floor + 16}">{escape(chart.x_text(tick))}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="x label" x="{middle}" y="{HEIGHT - 6}">{escape(chart.x_label)}</text>')
    return parts


def _bands(chart: Chart, x: _Axis) -> list[str]:
    parts = []
    for number, (name, start, end) in enumerate(chart.bands):
        left, right = x.at(start), x.at(end)
        kind = "band odd" if number % 2 else "band"
        parts.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{TOP}" width="{max(right - left, 0):.1f}" '
            f'height="{HEIGHT - BOTTOM - TOP}"><title>{escape(name)}</title></rect>'
        )
        if right - left > 7 * len(name):
            parts.append(
                f'<text class="band-name" x="{(left + right) / 2:.1f}" y="{TOP + 12}">{escape(name)}</text>'
            )
    return parts


def _shades(chart: Chart, x: _Axis) -> list[str]:
    return [
        f'<rect class="shade" x="{x.at(start):.1f}" y="{TOP}" width="{x.at(end) - x.at(start):.1f}" '
        f'height="{HEIGHT - BOTTOM - TOP}"><title>{escape(name)}</title></rect>'
        for name, start, end in chart.shades
    ]


def _marks(chart: Chart, y: _Axis) -> list[str]:
    """Each line with its name above it, or below where a band's name or another mark's is in the way."""
    parts = []
    taken: float = TOP + (LINE if chart.bands else 0)
    for at, name in sorted((y.at(value), name) for name, value in chart.lines):
        above = at - 4
        text_y = above if above - LINE >= taken else max(at, taken) + LINE
        taken = text_y
        parts.append(f'<line class="mark" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>')
        parts.append(f'<text class="mark" x="{WIDTH - RIGHT - 4}" y="{text_y:.1f}">{escape(name)}</text>')
    return parts


def _head(chart: Chart) -> list[str]:
    """Title and legend: side by side, or one below the other where they are too long for that."""
    widths = [7.2 * len(series.name) + 26 for series in chart.series]
    crowded = 8 * len(chart.title) + sum(widths) > WIDTH - RIGHT - LEFT
    title_y, legend_y = (12, 28) if crowded else (20, 20)
    parts = [f'<text class="title" x="{LEFT}" y="{title_y}">{escape(chart.title)}</text>']
    at = float(WIDTH - RIGHT)
    for number, series in reversed(list(enumerate(chart.series))):
        at -= widths[number]
        line_y = legend_y - 4
        parts.append(
            f'<line class="s{number}" x1="{at:.0f}" y1="{line_y}" x2="{at + 14:.0f}" y2="{line_y}"/>'
            f'<text class="legend" x="{at + 18:.0f}" y="{legend_y}">{escape(series.name)}</text>'
        )
    return parts


def svg(chart: Chart) -> str:
    """The chart as an <svg> element."""
    x, y = _axes(chart)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">']
    parts += _bands(chart, x)
    parts += _shades(chart, x)
    parts += _grid(chart, x, y)
    parts += _marks(chart, y)
    for number, series in enumerate(chart.series):
        dash = " dashed" if series.dashed else ""
        parts.append(f'<path class="s{number}{dash}" d="{_path(series.points, x, y)}"/>')
    parts += _head(chart)
    return "".join(parts) + "</svg>"
