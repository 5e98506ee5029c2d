"""The notebook runs from top to bottom on small settings, and what is stored in it came from a run of its own."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="the notebook needs pip install 'secateur[docs]'")
nbclient = pytest.importorskip("nbclient", reason="the notebook needs pip install 'secateur[docs]'")
ROOT = Path(__file__).parent.parent.parent
NOTEBOOK = ROOT / "docs" / "notebooks" / "study.ipynb"
FIGURES = 5


def outputs(notebook, kind):
    return [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs if kind in o.get("data", o)]


@pytest.mark.slow
def test_it_runs_from_top_to_bottom(monkeypatch):
    monkeypatch.setenv("SECATEUR_NOTEBOOK", "small")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(notebook, timeout=None, kernel_name="python3").execute()
    text = "".join(o["text"] for o in outputs(notebook, "text"))
    assert "360 to test" in text
    assert text.count("sc.prune gives the same: True") == 2
    assert len(outputs(notebook, "image/png")) == FIGURES


def test_it_is_stored_with_the_outputs_of_the_whole_run():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    code = [c for c in notebook.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    text = "".join(o["text"] for o in outputs(notebook, "text"))
    assert "60,000 samples to train" in text
    assert "Error" not in text
    assert len(outputs(notebook, "image/png")) == FIGURES
