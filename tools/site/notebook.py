"""The notebook as a page of the site, with the outputs that it was stored with."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

NOTEBOOK = "notebooks/study.ipynb"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Put ``notebooks/study.md`` and its pictures beside the notebook."""
    page, pictures = rendered(Path(config.docs_dir) / NOTEBOOK)
    files.append(File.generated(config, NOTEBOOK.replace(".ipynb", ".md"), content=page))
    for name, content in pictures.items():
        files.append(File.generated(config, f"notebooks/{name}", content=content))
    return files


def on_page_markdown(markdown: str, **given: Any) -> str:  # noqa: ARG001
    """Links to the notebook, which lead to the file where the pages are read as files, lead to its page."""
    return markdown.replace(f"({NOTEBOOK})", f"({NOTEBOOK.replace('.ipynb', '.md')})")


def rendered(path: Path) -> tuple[str, dict[str, bytes]]:
    """The Markdown of a notebook, and its pictures by name."""
    parts: list[str] = []
    pictures: dict[str, bytes] = {}
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        parts += [shown(output, pictures) for output in cell.outputs]
    return "\n\n".join(part for part in parts if part), pictures


def shown(output: Any, pictures: dict[str, bytes]) -> str:
    """One output of a cell: what was printed, a picture, or a table."""
    data = output.get("data", {})
    if "image/png" in data:
        name = f"study-{len(pictures)}.png"
        pictures[name] = base64.b64decode(data["image/png"])
        return f"![{data.get('text/plain', 'figure').splitlines()[0]}]({name})"
    if "text/markdown" in data:
        return str(data["text/markdown"])
    text = output.get("text") or data.get("text/plain", "")
    return f"```text\n{text.rstrip()}\n```" if text else ""
