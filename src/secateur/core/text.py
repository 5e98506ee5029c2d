"""Numbers, names and tables as text."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

_NOUNS = {"weight": "weights", "neuron": "neurons", "block": "blocks", "n_m": "weights in N:M groups"}
VARIANTS = {"sparse": "sparse kernels", "dense": "zeros kept, run dense", "small": "smaller dense network",
            "original": "original network", "int8": "int8 engine", "bf16": "bf16 engine"}


def noun(granularity: str) -> str:
    """The plural of one item.

    >>> noun("neuron"), noun("4x1"), noun("2:4")
    ('neurons', '4x1 blocks', '2:4 weights')
    """
    if granularity[0].isdigit():
        return f"{granularity} {'weights' if ':' in granularity else 'blocks'}"
    return _NOUNS.get(granularity, f"{granularity}s")


def bits_name(bits: int) -> str:
    """The type in which a network of so many bits computes.

    >>> bits_name(8), bits_name(16), bits_name(32)
    ('int8', 'bf16', 'float32')
    """
    return {8: "int8", 16: "bf16", 32: "float32"}.get(bits, f"{bits} bits")


def percent(fraction: float, digits: int = 1) -> str:
    """A fraction as a percentage without trailing zeros.

    >>> percent(0.7), percent(0.975), percent(0.99999, 2)
    ('70%', '97.5%', '100%')
    """
    if not math.isfinite(fraction):
        return "not a number"
    text = f"{100 * fraction:.{digits}f}"
    return (text.rstrip("0").rstrip(".") if "." in text else text) + "%"


def points(fraction: float) -> str:
    """A difference of accuracies in percentage points, two digits; the minus sign is a real one.

    >>> points(0.00214), points(-0.001)
    ('0.21', '−0.10')
    """
    text = f"{abs(100 * fraction):.2f}"
    return f"−{text}" if fraction < 0 and float(text) else text


def times(ratio: float) -> str:
    """A ratio with two or three significant digits.

    >>> times(0.4149), times(3.07), times(25.3), times(1234.0)
    ('0.41×', '3.1×', '25×', '1,234×')
    """
    if ratio < 1.995:
        return f"{ratio:.2f}×"
    return f"{ratio:.1f}×" if ratio < 9.95 else f"{ratio:,.0f}×"


def count(number: float) -> str:
    """A whole number with thousands separated."""
    return f"{number:,.0f}"


def with_prefix(number: float, unit: str = "") -> str:
    """A number with three digits and a decimal prefix.

    >>> with_prefix(9120000, "B"), with_prefix(532), with_prefix(0)
    ('9.12 MB', '532', '0')
    """
    for limit, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= limit * 0.9995:
            return f"{number / limit:.3g} {prefix}{unit}"
    return f"{number:.4g} {unit}".strip()


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them.

    >>> duration(0.000123), duration(0.0456), duration(2.5)
    ('123 µs', '45.6 ms', '2.5 s')
    """
    if seconds < 9.995e-4:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 0.9995 else f"{seconds:.3g} s"


def rough_time(seconds: float) -> str:
    """A time to wait, as exact as one can tell.

    >>> rough_time(0.2), rough_time(38), rough_time(61), rough_time(250), rough_time(5000), rough_time(7300)
    ('a few seconds', 'about 40 seconds', 'about 1 minute', 'about 4 minutes', 'about 1 h 25 min', 'about 2 h')
    """
    if seconds < 7.5:
        return "a few seconds"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} seconds"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} minute{'s' * (minutes > 1)}"
    hours, rest = divmod(5 * round(minutes / 5), 60)
    return f"about {hours} h" + (f" {rest} min" if rest else "")


def join_words(parts: Sequence[str], word: str = "and") -> str:
    """Parts joined as in a sentence.

    >>> join_words(["a", "b", "c"]), join_words(["a"], "or")
    ('a, b and c', 'a')
    """
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}" if parts else ""


def batches(sizes: Sequence[str]) -> str:
    """Batch sizes in words.

    >>> batches(["1"]), batches(["1", "64"])
    ('batch 1', 'batches 1 and 64')
    """
    return f"batch{'es' * (len(sizes) > 1)} {join_words(sizes)}"


def join_first(parts: Sequence[str], most: int) -> str:
    """The first of some parts, and how many more there are.

    >>> join_first(["a", "b", "c"], 2), join_first(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    return ", ".join(parts[:most]) + (f" and {len(parts) - most} more" if len(parts) > most else "")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0) -> str:
    """Rows under their head, the first column to the left and numbers to the right.

    Where they are wider than ``width`` columns, there is one blank between columns, and names that are too long for the
    first column go on in the next line; 0: there is no such limit.

    >>> print(table(("", "before"), [("bytes", "9"), ("test accuracy", "97.5%")]))
                   before
    bytes               9
    test accuracy   97.5%
    >>> print(table(("", "before"), [("bytes", "9"), ("test accuracy", "97.5%")], 15))
             before
    bytes         9
    test      97.5%
    accuracy
    """
    first, *widths = (max(map(len, column)) for column in zip(head, *rows, strict=True))
    is_wide = 0 < width < first + sum(2 + one for one in widths)
    gap = " " if is_wide else "  "
    first = max(1, min(first, width - sum(1 + one for one in widths))) if is_wide else first
    lines = []
    for row in (head, *rows):
        name, *more = textwrap.wrap(row[0], first, break_long_words=False) or [""]
        cells = (cell.rjust(one) for cell, one in zip(row[1:], widths, strict=True))
        lines += [gap.join([name.ljust(first), *cells]).rstrip(), *more]
    return "\n".join(lines)


def clean(text: object, keep: str = "") -> str:
    """Text that came from a file, in which every character that could steer a terminal or turn the order of a line is
    written out; those of ``keep`` stay.

    >>> clean("a\\x1b[2J"), clean("b\\u202ec"), clean("two\\nlines", keep="\\n")
    ('a\\\\x1b[2J', 'b\\\\u202ec', 'two\\nlines')
    """
    found = str(text)
    if found.isprintable():
        return found
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in found)


def say(what: object) -> None:
    """Print a text: on a terminal lines that are too long go on below, elsewhere each stays whole."""
    lines = clean(what, keep="\n")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    print(folded(lines, width) if width else lines)


def folded(lines: str, width: int) -> str:
    """Lines as lines of at most ``width`` columns. What a line goes on with is indented a little more where the line
    is; a word that is longer, such as an address, stays whole.

    >>> print(folded("conv1\\n  20 channels, weights go with them", 20))
    conv1
      20 channels,
        weights go with
        them
    """
    return "\n".join(_folded_line(line, width) for line in lines.split("\n"))


def _folded_line(line: str, width: int) -> str:
    """One line as lines of at most ``width`` columns."""
    indent = line[:len(line) - len(line.lstrip())]
    return "\n".join(textwrap.wrap(line, width, subsequent_indent=indent and indent + "  ", break_long_words=False,
                                   break_on_hyphens=False, replace_whitespace=False)) if len(line) > width else line


def clean_values(value: Any) -> Any:
    """The same of every text in nested lists and dictionaries, names of values too.

    >>> clean_values({"a\\x07": ["b\\x1b", 1]})
    {'a\\\\x07': ['b\\\\x1b', 1]}
    """
    if isinstance(value, dict):
        return {clean_values(k): clean_values(v) for k, v in value.items()}
    if isinstance(value, list):
        return [clean_values(v) for v in value]
    return clean(value) if isinstance(value, str) else value


def capital(text: str) -> str:
    """The text with its first letter raised."""
    return text[:1].upper() + text[1:]
