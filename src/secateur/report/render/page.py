"""The report as one HTML file that fetches nothing: styles, data, Plotly and the page's script inside."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from secateur.report.plots import by_class, curves, distributions, palette, sample_images, sensitivity, speed, training
from secateur.report.plots.base import Board, Control
from secateur.report.render import slider, tables, templates
from secateur.report.render.content import content
from secateur.report.render.plotly_ import spec
from secateur.report.results import Results

PLOTLY = "vendor/plotly-basic.min.js"
"""Plotly.js with the traces that the figures need; its licence lies beside it."""


def render(results: Results) -> str:
    """The whole page."""
    places = by_class.collect(results)
    boards = collect(results, places)
    layer_options = [(str(i), curve.method.name) for i, curve in enumerate(results.methods(controls=True))]
    return templates.render(
        "page.html.j2", **content(results), boards=boards, data=_data(results, boards, places), marks=marks(results),
        batch=curves.batch_control(results) if results.batches else None, show=_show(results),
        layer_options=layer_options, light=palette.LIGHT, dark=palette.DARK, style=templates.read("page.css"),
        plotly=templates.read(PLOTLY),
        scripts=[templates.read(name) for name in ("labels.js", "page.js")])


def collect(results: Results, places: Sequence[by_class.Found] = ()) -> dict[str, Board]:
    """The boards that this run can fill; ``places`` holds its classes."""
    boards = [curves.first_board(results), curves.board(results)]
    boards += [speed.pareto_board(results), speed.speedup_board(results)] if results.batches else []
    boards += [by_class.board(results, places)] if places else []
    boards += [distributions.board(results)] if distributions.by_layer(results) else []
    boards += [sensitivity.board(results)] if results.run.scans else []
    boards += [training.board(results)] if training.histories(results) else []
    return {b.key: b for b in boards}


def marks(results: Results) -> list[str]:
    """What a reader has to know of the run before anything else: that it is quick, or not finished."""
    return ["draft: a quick study"] if results.run.draft else []


def _show(results: Results) -> Control:
    """Which granularities all figures show."""
    return Control("show", "all figures show", (("", "everything"), *curves.shows(results)[1:]))


def _data(results: Results, boards: dict[str, Board], places: Sequence[by_class.Found]) -> dict[str, Any]:
    """All that the page's script draws from; what stands in many plots, and equal plots, are kept once."""
    texts: dict[str, int] = {}
    plots: dict[str, int] = {}

    def number(plot: dict[str, Any]) -> int:
        numbered = plot | {"data": [t | {"text": [texts.setdefault(v, len(texts)) for v in t["text"]]} if "text" in t
                                    else t for t in plot["data"]]}
        return plots.setdefault(json.dumps(numbered), len(plots))

    frames = {b.key: {"controls": [c.name for c in b.controls], "frames": [
        {choice: number(spec(plot)) for choice, plot in frame.items()} for frame in b.frames]}
        for b in boards.values()}
    return {"boards": frames, "slider": slider.slider(results), "layers": tables.layers(results),
            "classes": by_class.tables(results, places), "samples": sample_images.samples(results),
            "light": palette.LIGHT, "texts": list(texts), "plots": [json.loads(p) for p in plots]}
