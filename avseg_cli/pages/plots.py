"""Plots as SVG inside a page, readable on light and on dark ground."""

from __future__ import annotations

import io

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

LINE = "#e0447f"  # stands out on white and on black
QUIET = "#7d7d8c"  # of axes and text; in a page it gives way to the page's own, which is light on dark


def axes(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    """An empty plot with its labels, without a ground of its own."""
    figure = Figure((5.2, 3.2), layout="constrained", facecolor="none")
    axis = figure.subplots()
    axis.set(facecolor="none", xlabel=across, ylabel=up)
    axis.set_title(title, color=QUIET, size=11)
    axis.tick_params(colors=QUIET)
    axis.xaxis.label.set_color(QUIET)
    axis.yaxis.label.set_color(QUIET)
    axis.spines[:].set_color(QUIET)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color=QUIET, alpha=0.25)
    return figure, axis


def whole(axis: Axis) -> None:
    """Ticks at whole numbers alone, be it at one: there is no epoch 1.5."""
    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def svg(figure: Figure, told: str) -> Markup:
    """The figure as an element of a page; its text stays text. told: what it shows, for who cannot see it."""
    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    element = text[text.index("<svg") :].replace(QUIET, "var(--quiet)")
    return Markup(element.replace("<svg", Markup('<svg role="img" aria-label="{}"').format(told), 1))


def curve(points: list[tuple[float, float]], title: str, across: str, up: str) -> Markup:
    """A line through (x, y) points; few points are marked."""
    figure, axis = axes(title, across, up)
    axis.plot(*zip(*points, strict=True), color=LINE, marker="." if len(points) < 50 else None)
    if all(float(x).is_integer() for x, _ in points):
        whole(axis.xaxis)
    (first, begun), (last, ended) = points[0], points[-1]
    return svg(figure, f"{title}: {begun:.4g} at {across} {first:g}, {ended:.4g} at {across} {last:g}")
