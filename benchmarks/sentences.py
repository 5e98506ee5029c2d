"""Sentences from the documentation strings of Python's own standard library (PSF licence), the same on one version."""

from __future__ import annotations

import ast
import hashlib
import random
import re
import sysconfig
from pathlib import Path

SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
SHORTEST, LONGEST, WORDS = 30, 220, 6


def corpus(shown: int, held: int) -> tuple[list[str], list[str], str]:
    """Sentences to show and others to hold out, from other files, and a digest of both."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    random.Random(0).shuffle(files)
    cut = len(files) // 4
    parts = [drawn(files[cut:], shown), drawn(files[:cut], held)]
    parts[1] = [s for s in parts[1] if s not in set(parts[0])]
    return parts[0], parts[1], hashlib.sha256("\n".join([*parts[0], *parts[1]]).encode()).hexdigest()[:16]


def drawn(files: list[Path], count: int) -> list[str]:
    """Some of the sentences of some files."""
    found = sorted({s for file in files for s in sentences(file)})
    random.Random(1).shuffle(found)
    return found[:count]


def sentences(file: Path) -> list[str]:
    """The sentences in the documentation strings of a file."""
    tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
    paragraphs = [" ".join(p.split()) for text in texts for p in text.split("\n\n")]
    return [s for p in paragraphs for s in SENTENCE.split(p) if fit(s)]


def fit(sentence: str) -> bool:
    """Whether a text is a sentence of some words, and no code."""
    return (SHORTEST <= len(sentence) <= LONGEST and sentence[0].isupper() and sentence[-1] in ".!?"
            and len(sentence.split()) >= WORDS and not re.search(r">>>|[{}=_|<>\\]|--|\(\)", sentence))
