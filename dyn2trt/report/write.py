"""Lays a run folder out as ``report.html`` and ``report.md``."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from dyn2trt import __version__
from dyn2trt.files import replacing, write_text
from dyn2trt.heat import colour_bar
from dyn2trt.report.encode import data_uri
from dyn2trt.report.findings import read_findings
from dyn2trt.report.pictures import Picture, Weight
from dyn2trt.report.svg import DARK, LIGHT, for_file, for_page
from dyn2trt.report.view import ReportView, view_of


def write_report(folder: Path, output: Path, *, weight: Weight = "blocks", pictures: int = 12) -> list[Path]:
    """Write the page ``output`` (.html), and the Markdown next to it with its figures in ``<name>-figures/``.

    Returns the two documents.

    Raises:
        Dyn2trtError: the folder holds nothing to report, or something damaged.
    """
    view = view_of(read_findings(folder), weight, pictures)
    environment = Environment(
        loader=PackageLoader("dyn2trt.report"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"jpeg": lambda b: data_uri(b, "jpeg"), "png": lambda b: data_uri(b, "png")}
    environment.globals |= {
        "for_page": for_page,
        "cell": _markdown_cell,
        "caption": _caption,
        "ran": lambda layers: ", ".join(str(i) for i, on in enumerate(layers, 1) if on) or "none",
        "strip": lambda layers: "".join("■" if on else "□" for on in layers),
        "version": __version__,
        "colour_bar": colour_bar(),
        "light": LIGHT,
        "dark": DARK,
    }
    variables = {field.name: getattr(view, field.name) for field in fields(view)}
    write_text(output, environment.get_template("report.html.j2").render(variables))
    markdown, figures = output.with_suffix(".md"), output.with_name(f"{output.stem}-figures")
    _write_figures(view, figures)
    write_text(markdown, environment.get_template("report.md.j2").render(variables, figures=figures.name))
    return [output, markdown]


def _write_figures(view: ReportView, folder: Path) -> None:
    for plot in view.plots:
        write_text(folder / f"{plot.name}.svg", for_file(plot.wide))
    for picture in view.gallery.pictures if view.gallery is not None else ():
        for name, data in ((f"input-{picture.number}", picture.photograph), (f"heat-{picture.number}", picture.heat)):
            if data is None:
                continue
            with replacing(folder / f"{name}.jpg") as temporary:
                temporary.write_bytes(data)


def _caption(picture: Picture) -> str:
    parts = []
    if picture.layers:
        parts.append(f"{sum(picture.layers)} of {len(picture.layers)} layers run")
    if picture.work is not None:
        parts.append(f"{picture.work:.0%} of the gated work asked for")
    return f"Input {picture.number}" + (f": {', '.join(parts)}" if parts else "")


def _markdown_cell(text: str) -> str:
    """Text that cannot break out of a table's cell or be taken for markup."""
    for character in "\\|*_`<[":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())
