"""Charts: what contributed, what a card did, and figures over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nicegui import ui

from streams.schemas import Reason

INK: Final = "#7b8794"  # on light and dark ground alike
ACCENT: Final = "#2f8fc4"
ALARM: Final = "#e4572e"
CALM: Final = "#3fa66b"
WARM: Final = "#e0a030"
THIS: Final = "#a06cd5"
"""What a page is about, in every chart."""

_COLOURS: Final = [ACCENT, WARM, CALM, THIS, ALARM]

_LABEL: Final = {"color": INK, "fontSize": 11, "hideOverlap": True}
_HALF_A_TIME_PX: Final = 30
"""To the right of a time axis: its last label stands below its moment, which may be the last."""

_GRID: Final = {"left": 8, "right": _HALF_A_TIME_PX, "bottom": 4, "containLabel": True}

_AXIS: Final = {
    "axisLine": {"lineStyle": {"color": INK}},
    "axisLabel": _LABEL,
    "splitLine": {"lineStyle": {"color": INK, "opacity": 0.15}},
}


def reasons_chart(reasons: Sequence[Reason]) -> None:
    """Show how far each reason raised the score."""
    shown = sorted(reasons, key=lambda reason: reason.contribution)[-8:]
    options = {
        "animation": False,
        "grid": {"left": 8, "right": 44, "top": 4, "bottom": 4, "containLabel": True},
        "xAxis": {"type": "value", "show": False},
        "yAxis": {
            "type": "category",
            "data": [reason.code.replace("_", " ") for reason in shown],
            **_AXIS,
            "axisTick": {"show": False},
        },
        "series": [
            {
                "type": "bar",
                "barMaxWidth": 16,
                "data": [
                    {
                        "value": round(reason.contribution, 3),
                        "itemStyle": {
                            "color": ALARM if reason.contribution > 0 else CALM,
                            "borderRadius": 4,
                        },
                    }
                    for reason in shown
                ],
                "label": {
                    "show": True,
                    "position": "right",
                    "color": INK,
                    ":formatter": "p => (p.value > 0 ? '+' : '') + p.value.toFixed(2)",
                },
            }
        ],
    }
    said = ", ".join(f"{reason.code} {reason.contribution:+.2f}" for reason in reasons)
    _chart(options, f"Contribution of each reason to the score: {said}", 26 * len(shown) + 16)


_DATES: Final = {"day": "{d} {MMM}", "month": "{MMM} {yyyy}"}
"""Of a time axis: a day of no month says little."""

Dots = Sequence[tuple[int, float]]
"""(ms, value)."""


def timeline_chart(
    dots: Mapping[str, tuple[str, int, Dots]], said: str, scores: Dots = ()
) -> ui.echart:
    """Show single amounts over time; the scale is logarithmic, and less than a cent counts as one.

    Args:
        dots: by name in the legend: colour, size in pixels, and where they are.
        said: what is to be seen, in words.
        scores: from 0 to 1, as bars from the ground on a scale of their own, at the right.
    """
    bars = {
        "type": "bar",
        "name": "score",
        "yAxisIndex": 1,
        "barWidth": 5,
        "itemStyle": {"color": INK, "opacity": 0.55},
        "data": [[at, round(score, 3)] for at, score in scores],
    }
    options = {
        "animation": False,
        "grid": {**_GRID, "top": 34},
        "legend": {
            "top": 0,
            "textStyle": {"color": INK, "fontSize": 11},
            "icon": "circle",
            "itemWidth": 9,  # all in one row, on a phone too
            "itemHeight": 9,
            "itemGap": 8,
        },
        "tooltip": {"trigger": "item"},
        "xAxis": {
            "type": "time",
            **_AXIS,
            "axisLabel": {**_LABEL, "formatter": _DATES},
            "splitLine": {"show": False},
        },
        "yAxis": [
            {"type": "log", **_AXIS},
            {"type": "value", "min": 0, "max": 1, **_AXIS, "splitLine": {"show": False}}
            | {"show": bool(scores)},
        ],
        "series": [
            *([bars] if scores else []),
            *(
                {
                    "type": "scatter",
                    "name": name,
                    "symbolSize": size,
                    "itemStyle": {"color": colour},
                    "data": [[at, round(max(value, 0.01), 2)] for at, value in found],
                }
                for name, (colour, size, found) in dots.items()
            ),
        ],
    }
    return _chart(options, said, 220)


Series = Mapping[str, Sequence[tuple[float, float]]]
"""Figures over time by name: (epoch seconds, value)."""


def figures_chart(series: Series, said: str) -> ui.echart:
    """Show figures over time; `show_figures` gives it later ones."""
    options = {
        "animation": False,
        "color": _COLOURS,
        "grid": {**_GRID, "top": 30},
        "legend": {"top": 0, "textStyle": {"color": INK}, "itemWidth": 12, "itemHeight": 8},
        "tooltip": {"trigger": "axis"},
        "xAxis": {
            "type": "time",
            **_AXIS,
            "splitLine": {"show": False},
        },
        "yAxis": {"type": "value", "min": 0, **_AXIS},
        "series": _lines(series),
        "graphic": _nothing(series),
    }
    return _chart(options, said, 200)


def show_figures(chart: ui.echart, series: Series) -> None:
    """Put other figures into a chart."""
    chart.options["series"], chart.options["graphic"] = _lines(series), _nothing(series)
    chart.update()


def _nothing(series: Series) -> dict[str, Any]:
    text = "" if series else "nothing yet"
    style = {"text": text, "fill": INK, "fontSize": 13}
    return {"type": "text", "left": "center", "top": "middle", "style": style}


def _lines(series: Series) -> list[dict[str, Any]]:
    return [
        {
            "type": "line",
            "name": name,
            "showSymbol": False,
            "lineStyle": {"width": 2},
            "areaStyle": {"opacity": 0.08},
            "data": [[round(at * 1000), round(value, 3)] for at, value in points],
        }
        for name, points in series.items()
    ]


def _chart(options: dict[str, Any], said: str, height_px: int) -> ui.echart:
    chart = ui.echart(options, renderer="svg").classes("chart").style(f"height: {height_px}px")
    chart.props["role"], chart.props["aria-label"] = "img", said  # as they are: texts are hostile
    return chart
