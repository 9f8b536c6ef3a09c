"""Turns matplotlib figures into SVG that lives inside the page.

Colours are CSS variables, so that figures follow the page's light or dark
theme; text stays text in the page's own font; nothing refers to the outside.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable
from typing import Any

#: Colour that is drawn with -> CSS variable that replaces it.
COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--line)",
    "#040404": "var(--surface)",
    "#0a0a01": "var(--c1)",
    "#0a0a02": "var(--c2)",
    "#0a0a03": "var(--c3)",
    "#0a0a04": "var(--c4)",
    "#0a0a05": "var(--c5)",
    "#0a0a06": "var(--c6)",
}
INK, MUTED, LINE, SURFACE = tuple(COLOURS)[:4]
SERIES = tuple(COLOURS)[4:]

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tessera",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": LINE,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 2,
    "lines.solid_capstyle": "round",
}


def chart(
    draw: Callable[[list[Any]], None],
    name: str,
    label: str,
    size: tuple[float, float] = (6.4, 2.9),
    panels: int = 1,
) -> str:
    """Draws a figure and returns it as one `<svg>` element.

    Args:
      draw: draws on the panels (matplotlib axes), which lie side by side.
      name: prefix of all ids, distinct on the page.
      label: what a person who cannot see the figure is told.
      size: width and height in inches; the page scales the figure to its column.
      panels: number of axes.
    """
    import matplotlib
    from matplotlib.figure import Figure

    buffer = io.StringIO()
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw([figure.add_subplot(1, panels, index + 1) for index in range(panels)])
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return _inline(buffer.getvalue(), name, label)


def _inline(text: str, name: str, label: str) -> str:
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s(?:xmlns(?::\w+)?|version)="[^"]*"', "", text)
    text = text.replace("xlink:href", "href").replace('href="#', f'href="#{name}-')
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-")
    # Sizes of letters are kept, their families are the page's.
    text = re.sub(r"font-family: [^;\"]*;?\s*", "", text)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)
    for colour, variable in COLOURS.items():
        text = text.replace(colour, variable)
    for attribute in ("width", "height"):
        text = re.sub(rf'(<svg[^>]*?) {attribute}="[^"]*"', r"\1", text, count=1)
    text = re.sub(r"\n\s*", "\n", text)
    opening = f'<svg role="img" aria-label="{html.escape(label, quote=True)}"'
    return text.replace("<svg", opening, 1)
