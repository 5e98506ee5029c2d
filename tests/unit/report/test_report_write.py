"""The files of a report: complete at every edge, self-contained, the same each time."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import matplotlib
import pytest
import synthetic_run

from secateur import report
from secateur.cli import answer
from secateur.core import optional
from secateur.core.errors import MissingExtraError, RunError
from secateur.core.terminal import Terminal
from secateur.report import sentences
from secateur.report.gather import gather_results
from secateur.report.plots import speed
from secateur.report.plots.palette import DARK, LIGHT
from secateur.report.render import csv as export_rows
from secateur.report.render import markdown, matplotlib_, page, plotly_, tables, templates

SMALL = (0.0, 0.5, 0.9)
EDGES = {
    "all": {"grid": SMALL},
    "one granularity": {"grid": SMALL, "granularities": ("neuron",)},
    "one seed": {"grid": SMALL, "seeds": 1},
    "one sparsity": {"grid": (0.5,)},
    "only zero": {"grid": (0.0,)},
    "no latency": {"grid": SMALL, "batches": ()},
    "one batch": {"grid": SMALL, "batches": (7,)},
    "several criteria and scopes": {"grid": SMALL, "scopes": ("layer", "global"),
                                    "criteria": {"weight": ("magnitude", "other", "random"), "neuron": ("l1", "l2")}},
    "controls only": {"grid": SMALL, "criteria": {"weight": ("random",), "neuron": ("random",)}},
    "no images": {"grid": SMALL, "images": False},
    "not trained here": {"grid": SMALL, "trained_here": False},
    "no anatomy": {"grid": SMALL, "with_anatomy": False},
    "other granularity": {"grid": SMALL, "granularities": ("block",), "criteria": {"block": ("magnitude",)}},
    "nothing but one point": {"grid": (0.3,), "seeds": 1, "batches": (), "images": False, "trained_here": False,
                              "with_anatomy": False, "granularities": ("weight",),
                              "criteria": {"weight": ("magnitude",)}},
}


class Reader(HTMLParser):
    """Collects tags, what a page would fetch, and the embedded data."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.data = ""
        self.in_data = False

    def handle_starttag(self, name, attributes):
        found = dict(attributes)
        self.links += [v for k, v in found.items() if k in ("src", "href", "action", "srcset", "poster", "data")]
        self.ids += [found["id"]] if "id" in found else []
        self.in_data = found.get("id") == "data"
        if name not in ("meta", "link", "input", "img", "br"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name
        self.in_data = False

    def handle_data(self, text):
        self.data += text if self.in_data else ""


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    return reader


@pytest.mark.parametrize("edge", EDGES)
def test_page_and_summary_stand_at_every_edge(edge):
    digest = gather_results(synthetic_run.make(**EDGES[edge]))
    reader = read(page.render(digest))
    data = json.loads(reader.data)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert {"curves", "pareto", "speedup", "classes", "why", "layers", "settings"} <= set(reader.ids)
    for board in data["boards"].values():
        assert all(data["plots"][n]["data"] for frame in board["frames"] for n in frame.values()) or (
            edge == "controls only")
    assert markdown.render(digest, []).startswith(f"# mlp on digits\n\n**{sentences.headline(digest)}**\n")


def test_page_fetches_nothing():
    reader = read(page.render(gather_results(synthetic_run.make(grid=SMALL))))
    assert reader.links
    assert all(link.startswith(("#", "data:")) for link in reader.links)
    assert "url(" not in templates.read("page.css")
    assert "@import" not in templates.read("page.css")
    scripts = templates.read("page.js") + templates.read("labels.js")
    assert not re.search(r"fetch\(|XMLHttpRequest|import\(|https?:", scripts)


def test_names_from_a_run_cannot_break_the_page():
    run = synthetic_run.make(grid=SMALL, criteria={"weight": ("</script><b>", "x|y"), "neuron": ("l2",)})
    run = replace(run, command="secateur study --model '</pre><script>alert(1)</script>'")
    html = page.render(gather_results(run))
    reader = read(html)
    assert reader.open == []
    assert "</script><b>" not in html
    assert "weights, </script><b>" in [n["name"] for n in json.loads(reader.data)["plots"][0]["names"]]
    assert "x\\|y" in markdown.render(gather_results(run), [])


def test_every_colour_is_in_both_palettes():
    assert set(LIGHT) == set(DARK)
    digest = gather_results(synthetic_run.make(grid=SMALL, criteria=EDGES["several criteria and scopes"]["criteria"]))
    tokens = set()
    for board in page.collect(digest).values():
        for frame in board.frames:
            tokens |= {t for p in frame.values() for t in re.findall(r'"@([\w-]+)', json.dumps(plotly_.spec(p)))}
    assert tokens <= set(LIGHT)
    assert {"weight", "neuron", "weight-2", "paper"} <= tokens


def test_specs_are_valid_plotly():
    objects = importlib.import_module("plotly.graph_objects")

    def painted(value):
        if isinstance(value, dict):
            return {k: painted(v) for k, v in value.items() if k not in ("meta", "at")}
        if isinstance(value, list):
            return [painted(v) for v in value]
        return "#123456" if isinstance(value, str) and value.startswith("@") else value

    for board in page.collect(gather_results(synthetic_run.make(grid=SMALL))).values():
        for frame in board.frames:
            assert set(frame) == set(board.choices or ("",))
            spec = plotly_.spec(frame[board.choices[0]])
            assert len(objects.Figure(painted({k: spec[k] for k in ("data", "layout")})).data) == len(spec["data"])


def test_write_leaves_every_file_and_no_other(tmp_path):
    run = synthetic_run.make(tmp_path / "run", grid=SMALL, seeds=2, batches=(1,))
    written = [*report.write(run, csv=True, parquet=True).files, tmp_path / "run" / "report.json"]
    names = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert names == {p.relative_to(tmp_path / "run").as_posix() for p in written}
    assert {"report.html", "summary.md", "rows.csv", "rows.parquet", "figures/accuracy.png", "figures/accuracy.svg",
            "figures/accuracy-weight.png", "figures/pareto.svg", "figures/speedup.png"} <= names
    for picture in re.findall(r"\]\((figures/[^)]+)\)", (tmp_path / "run" / "summary.md").read_text()):
        assert picture in names
    assert (tmp_path / "run" / "report.html").stat().st_size < 2e6


def test_an_unchanged_run_is_not_drawn_again(tmp_path, blank_figures):
    few = {"seeds": 1, "batches": (), "with_anatomy": False, "trained_here": False, "granularities": ("weight",)}
    run = synthetic_run.make(tmp_path / "run", grid=(0.5,), **few)
    first = report.write(run)
    page_file = tmp_path / "run" / "report.html"
    page_file.write_text("touched")
    assert report.write(run, anew=False) == first
    assert page_file.read_text() == "touched"
    changed = synthetic_run.make(tmp_path / "run", grid=(0.5, 0.6), **few)
    report.write(changed, anew=False)
    assert page_file.read_text() != "touched"
    first.files[-1].unlink()
    assert report.write(changed, anew=False).files[-1].exists()


def test_at_the_end_of_a_study_its_results_are_gathered_once(tmp_path, blank_figures, monkeypatch):
    gathered = []
    for room in (report, answer):
        monkeypatch.setattr(room, "gather_results", lambda run: gathered.append(run) or gather_results(run))
    few = {"seeds": 1, "batches": (), "with_anatomy": False, "trained_here": False, "granularities": ("weight",)}
    run = synthetic_run.make(tmp_path / "run", grid=(0.5,), **few)
    for times in (1, 2):  # the second time the report is there, so that only the terminal asks
        answer.tell(report.write(run, csv=True, anew=False), run, Terminal(file=io.StringIO()))
        assert len(gathered) == times


def test_the_same_rows_give_the_same_bytes(tmp_path):
    def made(folder):
        digest = gather_results(synthetic_run.make(grid=SMALL, seeds=2, batches=(1,)))
        with matplotlib.rc_context(matplotlib_.STYLE):
            figure = matplotlib_.draw([speed.speedup(digest, "1")])
            drawn = [matplotlib_.save(figure, folder / f"speedup.{kind}").read_bytes() for kind in matplotlib_.KINDS]
        return [page.render(digest), markdown.render(digest, []), *drawn]

    assert made(tmp_path / "a") == made(tmp_path / "b")


@pytest.mark.parametrize("edge", EDGES)
def test_figures_are_chosen_by_what_the_run_holds(edge):
    digest = gather_results(synthetic_run.make(**EDGES[edge]))
    found = matplotlib_.collect(digest)
    assert {"accuracy", "loss"} <= set(found)
    assert all(panel.series for panels in found.values() for panel in panels) or edge == "controls only"
    assert ("pareto" in found) == bool(digest.batches)
    assert ("large-weights" in found) == bool(digest.run.weight_statistics)


def test_figures_of_a_single_point_can_be_drawn(tmp_path):
    digest = gather_results(synthetic_run.make(**EDGES["nothing but one point"]))
    names = {p.name for p in matplotlib_.write(digest, tmp_path)}
    drawn = ("accuracy", "accuracy-by-bytes", "accuracy-by-cost", "accuracy-closer", "loss", "loss-by-cost")
    assert names == {f"{name}.{kind}" for name in drawn for kind in ("png", "svg")}


def test_csv_and_parquet_hold_every_point(tmp_path):
    run = synthetic_run.make(grid=SMALL, seeds=1)
    rows = list(csv.DictReader(io.StringIO(export_rows.write_csv(run, tmp_path / "rows.csv").read_text())))
    path = export_rows.write_parquet(run, tmp_path / "rows.parquet")
    table = importlib.import_module("pyarrow.parquet").read_table(path)
    assert len(rows) == table.num_rows == len(run.points)
    assert float(rows[1]["accuracy"]) == run.points[1]["accuracy"]
    speedups = table.column("latency_64_sparse_speedup").to_pylist()
    assert speedups[0] == run.points[0]["latency"]["64"]["sparse"]["speedup"]
    assert rows[-1]["latency_64_sparse_speedup"] == ""


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        report.write(synthetic_run.make(grid=(0.5,), seeds=1), tmp_path / "file")


def test_an_empty_run_is_refused():
    with pytest.raises(RunError, match="0 points"):
        gather_results(replace(synthetic_run.make(grid=(0.5,), seeds=1), points=[]))


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    def refuse(name):
        raise ImportError(name)

    monkeypatch.setattr(optional.importlib, "import_module", refuse)
    with pytest.raises(MissingExtraError, match=r"matplotlib.*secateur\[report\]"):
        report.write(synthetic_run.make(grid=(0.5,), seeds=1), tmp_path)


def test_tables_tell_every_method_and_note():
    digest = gather_results(synthetic_run.make())
    assert len(tables.results(digest).rows) == 4 * len(synthetic_run.GRID)
    assert len(tables.results(digest, controls=False).rows) == 2 * len(synthetic_run.GRID)
    neurons = tables.layers(digest)[2]["sparsities"][-1]
    assert neurons["notes"] == ["2.weight: kept one neuron"]
    assert neurons["rows"][1] == ["2.weight", "40", "39", "1", "97.5%"]


def test_values_that_are_not_finite_become_gaps():
    run = synthetic_run.make(grid=SMALL, seeds=1)
    run = replace(run, points=[replace(p, loss=float("nan")) if p["sparsity"] == 0.9 else p for p in run.points])
    digest = gather_results(run)
    assert json.dumps(plotly_.spec(page.curves.plot(digest, "loss")), allow_nan=False).count("null") >= 2
    assert isinstance(page.render(digest), str)
