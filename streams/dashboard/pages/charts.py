"""Charts: what contributed, what a card did, and figures over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from nicegui import ui

from streams.schemas import Reason

_INK: Final = "#7b8794"  # on light and dark ground alike
_ACCENT: Final = "#2f8fc4"
_ALARM: Final = "#e4572e"
_CALM: Final = "#3fa66b"
_COLOURS: Final = [_ACCENT, "#e0a030", _CALM, "#a06cd5", _ALARM]

_AXIS: Final = {
    "axisLine": {"lineStyle": {"color": _INK}},
    "axisLabel": {"color": _INK, "fontSize": 11, "hideOverlap": True},
    "splitLine": {"lineStyle": {"color": _INK, "opacity": 0.15}},
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
                            "color": _ALARM if reason.contribution > 0 else _CALM,
                            "borderRadius": 4,
                        },
                    }
                    for reason in shown
                ],
                "label": {
                    "show": True,
                    "position": "right",
                    "color": _INK,
                    ":formatter": "p => (p.value > 0 ? '+' : '') + p.value.toFixed(2)",
                },
            }
        ],
    }
    said = ", ".join(f"{reason.code} {reason.contribution:+.2f}" for reason in reasons)
    _chart(options, f"Contribution of each reason to the score: {said}", 26 * len(shown) + 16)


def timeline_chart(
    *,
    large: Sequence[tuple[int, float]],
    alerts: Sequence[tuple[int, float, float]],
    this: tuple[int, float, float],
) -> None:
    """Show a card's unusual transactions over time, as times the usual amount.

    Args:
        large: (ms, times) of those that were unusually large.
        alerts: (ms, times, score) of those that raised an alert.
        this: likewise of the one that is looked at.
    """

    def points(found: Sequence[tuple[int, float, float]]) -> list[list[float]]:
        return [[at, round(times, 2), round(score, 3)] for at, times, score in found]

    options = {
        "animation": False,
        "grid": {"left": 8, "right": 16, "top": 34, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "textStyle": {"color": _INK}, "icon": "circle", "itemHeight": 9},
        "tooltip": {"trigger": "item"},
        "xAxis": {"type": "time", **_AXIS, "splitLine": {"show": False}},
        "yAxis": {
            "type": "value",
            "name": "times usual",
            "nameTextStyle": {"color": _INK},
            **_AXIS,
        },
        "series": [
            {
                "type": "scatter",
                "name": "large",
                "symbolSize": 8,
                "itemStyle": {"color": _INK},
                "data": [[at, round(times, 2)] for at, times in large],
            },
            {
                "type": "scatter",
                "name": "alert",
                "symbolSize": 11,
                "itemStyle": {"color": "#e0a030"},
                "data": points(alerts),
            },
            {
                "type": "scatter",
                "name": "this one",
                "symbolSize": 16,
                "itemStyle": {"color": _ALARM},
                "data": points([this]),
            },
        ],
    }
    said = f"{len(large)} unusually large transactions and {len(alerts)} other alerts of the card"
    _chart(options, said, 210)


Series = Mapping[str, Sequence[tuple[float, float]]]
"""Figures over time by name: (epoch seconds, value)."""


def figures_chart(series: Series, said: str) -> ui.echart:
    """Show figures over time; `show_figures` gives it later ones."""
    options = {
        "animation": False,
        "color": _COLOURS,
        "grid": {"left": 8, "right": 12, "top": 30, "bottom": 4, "containLabel": True},
        "legend": {"top": 0, "textStyle": {"color": _INK}, "itemWidth": 12, "itemHeight": 8},
        "tooltip": {"trigger": "axis"},
        "xAxis": {"type": "time", **_AXIS, "splitLine": {"show": False}},
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
    style = {"text": text, "fill": _INK, "fontSize": 13}
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
