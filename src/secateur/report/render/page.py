"""The report as one HTML file that fetches nothing: styles, data, Plotly and the page's script inside."""

from __future__ import annotations

from html import escape
from importlib.resources import files
from typing import Any

from secateur.core.optional import need
from secateur.report import explanation
from secateur.report.conclusions import sentence
from secateur.report.plots import curves, distributions, palette, sample_images, sensitivity, speed, training
from secateur.report.plots.base import Board
from secateur.report.render import headline, tables
from secateur.report.render.html import board, embedded, paragraphs, table, tag
from secateur.report.render.plotly_ import spec
from secateur.report.results import Digest

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data: blob:"


def render(digest: Digest) -> str:
    """The whole page."""
    boards = collect(digest)
    data = gathered(digest, boards)
    parts = sections(digest, boards, data["samples"] is not None)
    nav = "".join(tag("a", escape(title), href=f"#{key}") for key, title, _ in parts)
    body = "".join(tag("section", tag("h2", escape(title)) + inner, id=key) for key, title, inner in parts)
    page = headline.top(digest) + tag("nav", nav, aria_label="sections") + tag("main", body)
    plotly = need("plotly.offline").get_plotlyjs()
    return (f'<!doctype html>\n<html lang="en">\n<head>{head(digest)}</head>\n<body>{page}\n'
            f'<script type="application/json" id="data">{embedded(data)}</script>\n'
            f'<script>{asset("page.js")}</script>\n<script>{plotly}</script>\n<script>secateur.drawAll()</script>\n'
            "</body>\n</html>\n")


def gathered(digest: Digest, boards: dict[str, Board]) -> dict[str, Any]:
    """All that the page's script draws from."""
    texts: dict[str, int] = {}
    drawn = {b.key: {"controls": [c.name for c in b.controls], "frames": [
        {choice: pooled(spec(plot), texts) for choice, plot in frame.items()} for frame in b.frames]}
        for b in boards.values()}
    return {"boards": drawn, "layers": tables.layers(digest), "samples": sample_images.samples(digest),
            "texts": list(texts)}


def pooled(drawn: dict[str, Any], texts: dict[str, int]) -> dict[str, Any]:
    """The spec with every tooltip replaced by its number in ``texts``: the same ones stand in many plots."""
    return drawn | {"data": [t | {"text": [texts.setdefault(v, len(texts)) for v in t["text"]]} if "text" in t else t
                             for t in drawn["data"]]}


def asset(name: str) -> str:
    """The text of a file that lies beside this one."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def head(digest: Digest) -> str:
    """Title, policy and styles."""
    config = digest.run.config
    title = f"secateur: {config.get('model', 'network')} on {config.get('data', 'data')}"
    style = (f":root{{{palette.css(palette.LIGHT)}}}\n@media (prefers-color-scheme: dark){{:root"
             f"{{{palette.css(palette.DARK)}}}}}\n{asset('page.css')}")
    return (f'<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
            f'content="light dark"><meta name="description" content="{escape(sentence(digest))}">'
            f'<title>{escape(title)}</title><link rel="icon" href="data:,"><style>{style}</style>')


def collect(digest: Digest) -> dict[str, Board]:
    """The boards that this run can fill."""
    found = [curves.board(digest)]
    found += [speed.pareto_board(digest), speed.speedup_board(digest)] if digest.batches else []
    found += [distributions.board(digest)] if distributions.by_layer(digest) else []
    found += [sensitivity.board(digest)] if digest.run.scans else []
    found += [training.board(digest)] if training.histories(digest) else []
    return {b.key: b for b in found}


Section = tuple[str, str, str]


def sections(digest: Digest, boards: dict[str, Board], has_samples: bool) -> list[Section]:
    """Key, title and HTML of every section, in the order of the questions."""
    drawn = {key: board(b) for key, b in boards.items()}
    untimed = tag("p", "Latency was not measured in this run.")
    untrained = tag("p", "Nothing was trained in this run: the weights were given.")
    rows = tag("details", tag("summary", "Every method and sparsity")
               + table(tables.results(digest), "Means over the seeds"))
    return [
        ("curves", "Accuracy and loss against what is cut", drawn["curves"] + rows),
        ("pareto", "Accuracy against measured latency", drawn.get("pareto", untimed)),
        ("speedup", "Does it pay? Speed-up against sparsity",
         (bullets(speed.break_even_words(digest)) + drawn["speedup"]) if "speedup" in drawn else untimed),
        ("why", "Why weights and neurons differ", why_section(digest, drawn.get("why", ""))),
        *([("sensitivity", "Sensitivity: each layer cut by itself", sensitivity_section(digest, drawn["sensitivity"]))]
          if "sensitivity" in drawn else []),
        ("layers", "Layer by layer", tag("div", class_="layers")),
        ("training", "Training", drawn.get("training", untrained)),
        *([("samples", "Sample images before and after", tag("div", class_="samples"))] if has_samples else []),
        ("settings", "Settings, machine and how to do it again", settings(digest))]


def bullets(texts: list[str]) -> str:
    """A list of sentences."""
    return tag("ul", "".join(tag("li", escape(t)) for t in texts), class_="findings")


def why_section(digest: Digest, drawn: str) -> str:
    """The hypothesis, what the numbers say, the plots and the table."""
    hypothesis = tag("p", "The hypothesis: " + tag("em", "many weights lie near zero while neuron norms do not")
                     + ", so that a cut finds many weights, but few neurons, that hardly matter.")
    first, *rest = explanation.paragraphs(digest)
    found = table(tables.anatomy(digest), "Spread, and shares near zero") if drawn else ""
    found += tag("p", escape(f"{tables.ANATOMY}. Means over the seeds."), class_="note") if drawn else ""
    verdict = tag("p", escape(first), class_="verdict")
    return hypothesis + verdict + tag("div", paragraphs(rest), class_="prose") + drawn + found


def sensitivity_section(digest: Digest, drawn: str) -> str:
    """What the scan says, its plots and its table."""
    found = table(sensitivity.table(digest), "Divergence of the outputs in nats, by the fraction of the layer cut")
    folded = tag("details", tag("summary", "Every layer") + found)
    return tag("p", escape(sensitivity.sentence(digest)), class_="verdict") + drawn + folded


def settings(digest: Digest) -> str:
    """Command, settings, machine."""
    run: Any = digest.run
    command = tag("pre", tag("code", escape(run.command)), tabindex="0")
    both = (table(tables.settings(run.config), "Settings")
            + table(tables.settings(tables.machine(digest)), "Machine and versions"))
    return tag("p", "This command makes the same run:") + command + tag("div", both, class_="pair")
