"""Settings: frozen values that check themselves from what their fields declare; the command line is made from the same.

>>> @dataclass(frozen=True, kw_only=True)
... class Training(Settings):
...     epochs: int = setting(5, "training epochs", least=0)
...     lr: float = setting(1e-3, "learning rate", above=0)
>>> Training.make({"epochs": "3"})
Training(epochs=3, lr=0.001)
>>> Training(lr=-1)
Traceback (most recent call last):
secateur.core.errors.SecateurError: lr -1: allowed is a number above 0
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from math import inf, isfinite
from pathlib import Path
from types import NoneType, SimpleNamespace
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from secateur.core import registry
from secateur.core.errors import SecateurError, unknown
from secateur.core.items import Item

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REQUIRED = MISSING
MAIN, NETWORK, CUT, RECOVERY, TRAINING, TIMING, REPORT, RUN, ROW = GROUPS = (
    "", "Network and data", "What is cut", "Recovery", "Training", "Timing", "Report", "How it runs",
    "Which network of a run")
"""The groups of settings, in order; the first holds what most calls need."""
WORDS = {int: "a whole number", float: "a number", str: "text"}
Made = TypeVar("Made", bound="Settings")


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """One setting: what its field declares, and its name, type and default.

    Attributes:
        help: what it is, for the command line.
        group: one of :data:`GROUPS`, a panel of the command line's help.
        shown: its name on the command line and in TOML, where another than the field's, which goes on being taken.
        aliases: earlier names, which go on being taken.
        least, greatest, above: bounds of a number, or of each of several.
        allowed: the names that are allowed.
        room: the registry whose names are allowed, and what a user's import path gives.
        check: refuses a value, or each of several, with an error of its own; it may import what takes long.
        form: the same for what needs no such import: a command begins with it.
        some: whether an empty tuple is refused.
        repeats: whether a value may stand in a tuple twice.
        argument: on the command line it has no flag but is a word of its own, named so in the help.
        flag: whether the command line has it at all.
        json: the text is JSON, and a mapping in its place becomes such.
        kind: the type of the field, None in it where it may be left out.
    """

    help: str
    group: str = MAIN
    shown: str = ""
    aliases: tuple[str, ...] = ()
    least: float | None = None
    greatest: float | None = None
    above: float | None = None
    allowed: tuple[str, ...] = ()
    room: str = ""
    check: Callable[[Any], object] | None = None
    form: Callable[[Any], object] | None = None
    some: bool = False
    repeats: bool = False
    argument: str = ""
    flag: bool = True
    json: bool = False
    name: str = ""
    kind: Any = None
    default: Any = None

    @property
    def names(self) -> tuple[str, ...]:
        """All its names, that of its flag first."""
        return tuple(dict.fromkeys(name for name in (self.shown, self.name, *self.aliases) if name))

    @property
    def several(self) -> bool:
        """Whether it is a tuple."""
        return get_origin(_present(self.kind)) is tuple

    @property
    def item(self) -> type:
        """The type of the value, or of each of several."""
        kind = _present(self.kind)
        return get_args(kind)[0] if self.several else kind  # type: ignore[no-any-return]

    def read(self, value: Any) -> Any:
        """A value that Python gives, in the setting's type; whole numbers stay so where numbers are allowed, as they
        do in the keys of rows.

        Raises:
            SecateurError: it cannot be.
        """
        parts = value if isinstance(value, tuple) else () if self.several else (value,)
        if (value is None and self.default is None) or (
                isinstance(value, tuple) == self.several and all(_is(part, self.item) for part in parts)):
            return value
        return self.convert(value)

    def convert(self, value: Any) -> Any:
        """A value from text, TOML or JSON in the setting's type.

        Raises:
            SecateurError: it cannot be.
        """
        # As everywhere in secateur, an empty list names nothing, so that the default holds; () and '' are empty.
        if value == [] and self.default is None and not self.some:
            return None
        text = json.dumps(value, sort_keys=True) if self.json and isinstance(value, Mapping) else value
        return coerce(self.name, text, self.kind)

    def plain(self, value: Any) -> Any:
        """A value as plain JSON; ``''`` for an empty tuple where ``[]`` would be read as the default."""
        if isinstance(value, tuple):
            return list(value) if value or self.default is not None else ""
        return value

    def check_value(self, value: Any) -> None:
        """Refuse a value that the field does not allow; the default is always allowed.

        Raises:
            SecateurError: the message says what is allowed.
        """
        self.check_form(value)
        if value == self.default:
            return
        for one in value if self.several else (value,):
            if self.room:
                registry.get(self.room, one)
            if self.check:
                self.check(one)

    def check_form(self, value: Any) -> None:
        """Refuse what can be refused without importing an item: numbers out of bounds, unknown
        names, what ``form`` refuses.

        Raises:
            SecateurError: the message says what is allowed.
        """
        if value == self.default:
            return
        values, label = value if self.several else (value,), self.names[0].replace("_", "-")
        if self.some and not values:
            raise SecateurError(f"{label} is empty; allowed is at least one value")
        if not self.repeats and (twice := [v for i, v in enumerate(values) if v in values[:i]]):
            raise SecateurError(f"{label} {', '.join(map(str, values))}: {twice[0]} is given twice")
        for one in values:
            if self.allowed and one not in self.allowed:
                raise unknown(label, one, self.allowed)
            if self.room:
                registry.check_name(self.room, one)
            if self.item in (int, float) and not self._within(one):
                raise SecateurError(f"{label} {one}: allowed is {self._range()}{self._hint(one)}")
            if self.form:
                self.form(one)

    def _within(self, value: float) -> bool:
        """Whether a number keeps to the bounds; what is not finite keeps to none."""
        low, high = -inf if self.least is None else self.least, inf if self.greatest is None else self.greatest
        return low <= value <= high and isfinite(value) and (self.above is None or value > self.above)

    def _hint(self, value: float) -> str:
        """The fraction that a percentage stands for, where fractions are allowed."""
        return f"; did you mean {value / 100:g}?" if self.greatest == 1 and 1 < value <= 100 else ""

    def _range(self) -> str:
        if self.above is not None:
            return f"a number above {self.above:g}" + (f", at most {self.greatest:g}" if self.greatest else "")
        if self.least is None:
            return "a finite number"
        return f"{self.least:g} or more" if self.greatest is None else f"in [{self.least:g}, {self.greatest:g}]"


def setting(default: Any, help: str, **declared: Any) -> Any:
    """A field of :class:`Settings`: its default (or :data:`REQUIRED`), its help, and what :class:`Setting` has."""
    return field(default=default, metadata={"help": help, "setting": Setting(help=help, **declared)})


@dataclass(frozen=True, kw_only=True)
class Settings(Item):
    """The base of every class of settings: a value that it makes has the types and bounds that its fields declare.

    ``cross_checks`` are called with the value when each field is checked: what holds between fields. Those that need
    nothing slow are ``cross_forms``, for which anything will do that has the fields: a command begins with them.

    Raises:
        SecateurError: a setting is outside what is allowed; the message says what is.
    """

    cross_checks: ClassVar[tuple[Callable[[Any], None], ...]] = ()
    cross_forms: ClassVar[tuple[Callable[[Any], None], ...]] = ()

    def __post_init__(self) -> None:
        known = settings_of(type(self))
        for one in known:
            object.__setattr__(self, one.name, one.read(getattr(self, one.name)))
        for one in known:
            one.check_value(getattr(self, one.name))
        for check in (*self.cross_forms, *self.cross_checks):
            check(self)

    @classmethod
    def make(cls: type[Made], *layers: Mapping[str, Any]) -> Made:
        """A value from mappings of names to text, TOML or plain values, later ones winning.

        Raises:
            SecateurError: an unknown setting, a value of the wrong type, a value that is not allowed.
        """
        return make_each((cls,), *layers)[0]  # type: ignore[no-any-return]

    def settings(self) -> dict[str, Any]:
        """All settings as plain JSON values, which :meth:`restore` reads."""
        return {one.name: one.plain(getattr(self, one.name)) for one in settings_of(type(self))}

    @classmethod
    def restore(cls: type[Made], plain: Mapping[str, Any]) -> Made:
        """The value that gave its :meth:`settings`.

        Unlike in :meth:`make`, whole numbers stay whole, because the keys of rows tell 1 from 1.0.

        Raises:
            SecateurError: as in :meth:`make`.
        """
        tuples = {name: tuple(value) if isinstance(value, list) and value else value for name, value in plain.items()}
        return make_each((cls,), tuples, read=Setting.read)[0]  # type: ignore[no-any-return]


def make_each(classes: Iterable[type[Settings]], *layers: Mapping[str, Any],
              read: Callable[[Setting, Any], Any] = Setting.convert) -> tuple[Any, ...]:
    """A value of each class from mappings that hold settings of any of them, later mappings winning.

    ``read`` brings a value into the type of its setting.

    Raises:
        SecateurError: a setting that none of the classes has, two names of one setting, a value that is not allowed.
    """
    owned = {cls: settings_of(cls) for cls in classes}
    merged = _merged((one for known in owned.values() for one in known), layers)
    return tuple(cls(**{one.name: read(one, merged[one.name]) for one in known if one.name in merged})
                 for cls, known in owned.items())


def check_forms(classes: Iterable[type[Settings]], *layers: Mapping[str, Any], are_all: bool = True) -> None:
    """Refuse at once what :func:`make_each` would refuse, as far as that needs no torch, which takes seconds to import.

    Args:
        classes: those that the settings belong to.
        layers: mappings that hold settings of any of them, later ones winning.
        are_all: whether these are all settings that are given, so that what holds between them can be looked at.

    Raises:
        SecateurError: a setting that none of the classes has, two names of one setting, a value that is not allowed.
    """
    owned = {cls: settings_of(cls) for cls in classes}
    merged = _merged((one for known in owned.values() for one in known), layers)
    for cls, known in owned.items():
        values = {one.name: one.convert(merged[one.name]) if one.name in merged else one.default for one in known}
        for one in known:
            one.check_form(values[one.name])
        for check in cls.cross_forms if are_all else ():
            check(SimpleNamespace(**values))


def _merged(settings: Iterable[Setting], layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What mappings give of some settings, by the names of their fields, later mappings winning."""
    # What has a flag comes last, so that its name wins over that of a field without one.
    settings = sorted(settings, key=lambda one: one.flag)
    names = {name: one.name for one in settings for name in one.names}
    merged: dict[str, Any] = {}
    for layer in layers:
        if strange := [key for key in layer if key not in names]:
            raise unknown("setting", strange[0], {one.names[0] for one in settings})
        if twice := [key for key in layer if names[key] != key and names[key] in layer]:
            raise SecateurError(f"{twice[0]} and {names[twice[0]]} are the same setting; give only one")
        merged |= {names[key]: value for key, value in layer.items()}
    return merged


def settings_of(cls: type[Settings]) -> tuple[Setting, ...]:
    """The settings of a class by group, in a group those of the class itself before those that it inherits."""
    hints, own = get_type_hints(cls), inspect.get_annotations(cls)
    known = sorted(fields(cls), key=lambda f: (GROUPS.index(f.metadata["setting"].group), f.name not in own))
    return tuple(replace(f.metadata["setting"], name=f.name, kind=hints[f.name], default=f.default) for f in known)


def coerce(name: str, value: Any, kind: Any) -> Any:
    """A value from text, TOML or Python in a type.

    Raises:
        SecateurError: it cannot be; the message has the name.

    >>> coerce("sparsity", "0, 0.5", tuple[float, ...])
    (0.0, 0.5)
    """
    if value is None and kind != _present(kind):
        return None
    kind = _present(kind)
    if get_origin(kind) is tuple:
        parts = value.rstrip(", ").split(",") if isinstance(value, str) else value
        parts = parts if isinstance(parts, (list, tuple)) else [parts]
        parts = [part.strip() if isinstance(part, str) else part for part in parts] if parts != [""] else []
        return tuple(coerce(name, part, get_args(kind)[0]) for part in parts)
    return _scalar(name, os.fspath(value) if isinstance(value, os.PathLike) else value, kind)


def _scalar(name: str, value: Any, kind: type) -> Any:
    """A single value in a type."""
    if kind is bool and not isinstance(value, bool):
        raise SecateurError(f"{name} {value!r}: allowed are true and false")
    if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
        return value
    wrong = isinstance(value, (bool, list, tuple, Mapping)) or kind is str
    try:
        result = kind(value)
    except (TypeError, ValueError, OverflowError):
        wrong, result = True, value
    if wrong or (kind is int and float(value) != result):
        raise SecateurError(f"{name.replace('_', '-')} '{value}': allowed is {WORDS[kind]}")
    return result


def _present(kind: Any) -> Any:
    """A type without the None that it allows."""
    rest = [k for k in get_args(kind) if k is not NoneType]
    return rest[0] if NoneType in get_args(kind) else kind


def _is(value: Any, kind: type) -> bool:
    """Whether a value is of a type; whole numbers are numbers, truth values are none."""
    return isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool)


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a TOML file, its keys named as the flags or as the fields.

    Raises:
        SecateurError: the file is missing or is no TOML.
    """
    try:
        return {k.replace("-", "_"): v for k, v in tomllib.loads(path.read_text(encoding="utf-8")).items()}
    except OSError as error:
        raise SecateurError(f"config '{path}': {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SecateurError(f"config '{path}' is not TOML: {error}") from error
