"""Matplotlib figures as SVG that takes its colours and its font from the page around it.

A figure is drawn in stand-in colours, `INKS`; inlined in HTML these become CSS variables, so that one drawing is
legible on light and on dark paper; in a file of its own they become the light palette.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import Any

import matplotlib

INKS = {
    "ink": "#010203",
    "muted": "#020304",
    "grid": "#030405",
    "dense": "#040506",
    "sparse": "#050607",
    "blobs": "#060708",
    "independent": "#070809",
    "paper": "#08090a",
}
"""CSS variable → stand-in colour. The page's style sheet gives each variable its colours."""

LIGHT = {
    "ink": "#1a1d21",
    "muted": "#5a626c",
    "grid": "#dfe3e8",
    "dense": "#3d454e",
    "sparse": "#a3164f",
    "blobs": "#1666b0",
    "independent": "#b25a00",
    "paper": "#ffffff",
}
DARK = {
    "ink": "#e9ebee",
    "muted": "#a4adb8",
    "grid": "#353b43",
    "dense": "#c3cad2",
    "sparse": "#ff7aab",
    "blobs": "#69b1ff",
    "independent": "#ffad5c",
    "paper": "#14171b",
}

STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INKS["ink"],
    "axes.labelcolor": INKS["muted"],
    "axes.edgecolor": INKS["muted"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": INKS["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": INKS["muted"],
    "ytick.color": INKS["muted"],
    "xtick.major.size": 0,
    "xtick.major.pad": 7,
    "ytick.major.pad": 5,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "lines.linewidth": 2,
}
"""Settings to draw under, for ``matplotlib.rc_context``."""


def to_svg(figure: Any, title: str, *, salt: str) -> str:
    """Return the figure as an ``<svg>`` element in stand-in colours, titled for screen readers.

    Args:
        salt: makes the ids inside unlike those of other figures on the page, and the same each time.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt, "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", text)
    text = re.sub(r"\bid=\"([^\"]+)\"", rf'id="{salt}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{salt}-\1)", text)
    text = re.sub(r"(xlink:href=\"#)([^\"]+)\"", rf'\g<1>{salt}-\2"', text)
    opening = re.match(r"<svg[^>]*>", text)
    assert opening is not None
    box = re.search(r'viewBox="[^"]+"', opening[0])
    assert box is not None
    head = (
        f'<svg {box[0]} role="img" aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return f"{head}<title>{escape(title)}</title>{text[opening.end() :].strip()}"


def for_page(svg: str) -> str:
    """Colours by CSS variables."""
    for name, stand_in in INKS.items():
        svg = svg.replace(stand_in, f"var(--{name})")
    return svg


def for_file(svg: str) -> str:
    """Colours of the light palette on white paper."""
    for name, stand_in in INKS.items():
        svg = svg.replace(stand_in, LIGHT[name])
    start = svg.index(">") + 1
    head = svg[: start - 1] + ' font-family="sans-serif">'
    return f'{head}<rect width="100%" height="100%" fill="{LIGHT["paper"]}"/>{svg[start:]}\n'
