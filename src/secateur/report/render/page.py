"""The report as one HTML file that fetches nothing: styles, data, Plotly and the page's script inside."""

from __future__ import annotations

from typing import Any

from secateur.core.optional import need
from secateur.report import sentences
from secateur.report.plots import curves, distributions, palette, sample_images, sensitivity, speed, training
from secateur.report.plots.base import Board
from secateur.report.render import tables, templates
from secateur.report.render.content import cards, content
from secateur.report.render.plotly_ import spec
from secateur.report.results import Results


def render(results: Results) -> str:
    """The whole page."""
    boards = collect(results)
    data = _data(results, boards)
    return templates.render(
        "page.html.j2", **content(results), boards=boards, data=data,
        headline_parts=sentences.headline_parts(results), cards=cards(results),
        role=palette.role, light=palette.LIGHT, dark=palette.DARK,
        style=templates.read("page.css"), script=templates.read("page.js"),
        plotly=need("plotly.offline").get_plotlyjs())


def collect(results: Results) -> dict[str, Board]:
    """The boards that this run can fill."""
    boards = [curves.board(results)]
    boards += [speed.pareto_board(results), speed.speedup_board(results)] if results.batches else []
    boards += [distributions.board(results)] if distributions.by_layer(results) else []
    boards += [sensitivity.board(results)] if results.run.scans else []
    boards += [training.board(results)] if training.histories(results) else []
    return {b.key: b for b in boards}


def _data(results: Results, boards: dict[str, Board]) -> dict[str, Any]:
    """All that the page's script draws from; the same tooltips stand in many plots, so each is kept once."""
    texts: dict[str, int] = {}

    def number(plot: dict[str, Any]) -> dict[str, Any]:
        return plot | {"data": [t | {"text": [texts.setdefault(v, len(texts)) for v in t["text"]]} if "text" in t
                                else t for t in plot["data"]]}

    frames = {b.key: {"controls": [c.name for c in b.controls], "frames": [
        {choice: number(spec(plot)) for choice, plot in frame.items()} for frame in b.frames]}
        for b in boards.values()}
    return {"boards": frames, "layers": tables.layers(results), "samples": sample_images.samples(results),
            "texts": list(texts)}
