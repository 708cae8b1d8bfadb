"""A run, or a prediction, as a picture: what part of the requests was answered at which level, as an SVG.

Written by hand, because a stacked area of four bands does not justify a plotting library. The bands are what
was asked in one second, or at one load: level 1, 2, 3 in time, and the rest. Over time, spans in which a fault was on are
marked above; over load, there is a panel for each class and one for all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from xml.sax.saxutils import escape

from failsoft.simulation.prediction import Predicted
from failsoft.simulation.report import Summary, Tally

WIDTH, HEIGHT = 860, 320
LEFT, RIGHT, TOP, BOTTOM = 50, 130, 40, 40
BANDS = (("level 1", "#2f6f4f"), ("level 2", "#8fb996"), ("level 3", "#e3c567"), ("not in time", "#b23a48"))
MARK_SECONDS = 10


def level_chart(
    tally: Tally, *, title: str, faults: Iterable[tuple[float, float]] = (), bin_seconds: float = 1.0
) -> str:
    """Draw the shares of levels over the time of asking.

    Args:
        tally: of a finished run.
        title: what it shows.
        faults: instants between which something was wrong.
        bin_seconds: width of one step.
    """
    shares = _shares(tally, bin_seconds)
    span = bin_seconds * max(1, len(shares))
    x = (WIDTH - LEFT - RIGHT) / span
    parts = [*_sheet(HEIGHT), _heading(title)]
    parts += [_band(shares, band, colour, x * bin_seconds) for band, (_, colour) in enumerate(BANDS)]
    parts += [
        f'<rect x="{LEFT + x * begins_at:.1f}" y="{TOP - 8}" width="{x * (min(ends_at, span) - begins_at):.1f}" height="5"/>'
        for begins_at, ends_at in faults
        if begins_at < min(ends_at, span)
    ]
    parts += _axes(span, x)
    parts += _legend()
    return "\n".join([*parts, "</svg>", ""])


def load_chart(found: Sequence[Predicted], *, title: str) -> str:
    """Draw the shares of levels over load, a panel for all and one for each class.

    Args:
        found: one prediction a load, in order of load; each gets the same width.
        title: what it shows.
    """
    names = dict.fromkeys(name for each in found for name in each.classes)
    loads = [each.load for each in found]
    panels = [_panel(f"{title}: all classes", loads, [each.total for each in found])]
    panels += [_panel(name, loads, [each.classes.get(name) for each in found]) for name in names]
    parts = _sheet(HEIGHT * len(panels))
    for row, panel in enumerate(panels):
        parts += [f'<g transform="translate(0 {row * HEIGHT})">', *panel, "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(title: str, loads: Sequence[float], summaries: Sequence[Summary | None]) -> list[str]:
    shares = [(0.0,) * len(BANDS) if each is None else _cumulated(each.levels, each.offered) for each in summaries]
    step = (WIDTH - LEFT - RIGHT) / max(1, len(loads))
    ticks = [
        f'<text x="{LEFT + (index + 0.5) * step:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{load:g}</text>'
        for index, load in enumerate(loads)
    ]
    bands = [_band(shares, band, colour, step) for band, (_, colour) in enumerate(BANDS)]
    return [_heading(title), *bands, *_scale(), *ticks, _caption("load, in capacities of the first tier"), *_legend()]


def _cumulated(levels: Mapping[int, int], offered: int) -> tuple[float, ...]:
    """The shares of the bands, each with those below it."""
    return (*accumulate(levels.get(level, 0) / max(1, offered) for level in (1, 2, 3)), 1.0)


def _sheet(height: int) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]


def _heading(title: str) -> str:
    return f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}</text>'


def _shares(tally: Tally, bin_seconds: float) -> list[tuple[float, ...]]:
    """Per step the cumulated shares of the bands, from the bottom."""
    counts: dict[int, list[int]] = defaultdict(lambda: [0] * len(BANDS))
    for ask in tally.offered:
        counts[int(ask.at / bin_seconds)][-1] += 1
    for end in tally.ended:
        if end.is_in_time and end.ending.level is not None:
            step = counts[int(end.ask.at / bin_seconds)]
            step[end.ending.level - 1] += 1
            step[-1] -= 1
    steps = []
    for index in range(max(counts, default=-1) + 1):
        total, below = max(1, sum(counts[index])), 0
        cumulated = []
        for count in counts[index]:
            below += count
            cumulated.append(below / total)
        steps.append(tuple(cumulated))
    return steps


def _band(shares: Sequence[tuple[float, ...]], band: int, colour: str, step: float) -> str:
    upper = [(LEFT + (index + side) * step, share[band]) for index, share in enumerate(shares) for side in (0, 1)]
    lower = [
        (LEFT + (index + side) * step, share[band - 1] if band else 0.0)
        for index, share in reversed(list(enumerate(shares)))
        for side in (1, 0)
    ]
    points = " ".join(f"{x:.1f},{_y(share):.1f}" for x, share in (*upper, *lower))
    return f'<polygon points="{points}" fill="{colour}"/>'


def _axes(span: float, x: float) -> list[str]:
    ticks = [
        f'<text x="{LEFT + x * at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{at} s</text>'
        for at in range(0, int(span) + 1, MARK_SECONDS)
    ]
    return [*_scale(), *ticks, _caption("asked at; the bar above marks faults")]


def _scale() -> list[str]:
    return [
        f'<text x="{LEFT - 8}" y="{_y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>' for share in (0, 0.5, 1)
    ]


def _caption(text: str) -> str:
    return f'<text x="{LEFT}" y="{HEIGHT - 6}">{text}</text>'


def _legend() -> list[str]:
    left = WIDTH - RIGHT + 14
    return [
        f'<rect x="{left}" y="{TOP + 20 * row}" width="12" height="12" fill="{colour}"/>'
        f'<text x="{left + 18}" y="{TOP + 20 * row + 10}">{name}</text>'
        for row, (name, colour) in enumerate(BANDS)
    ]


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
