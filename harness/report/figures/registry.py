"""Figure kinds by name: functions of frames, whose keyword parameters are a suite's options and checked as such."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from pydantic import TypeAdapter, ValidationError

from harness.errors import HarnessError, unknown
from harness.report.figures.layout import Sheet
from harness.report.figures.theme import THEME
from harness.report.frames import Frames


@dataclass(frozen=True)
class Drawing:
    """A figure with its data and its words."""

    sheet: Sheet
    data: pd.DataFrame
    """What is drawn, tidy: one row a point or a bar."""
    alt: str
    """Text alternative, generated from the data."""
    caption: str

    @property
    def figure(self) -> Figure:
        """The matplotlib figure, as it was last arranged."""
        return self.sheet.figure


Draw = Callable[..., Drawing]
_kinds: dict[str, Draw] = {}
COMMON = {"title": "str"}
"""Options of every figure, which the page reads and the figure does not."""


def kind(name: str) -> Callable[[Draw], Draw]:
    """Decorator: registers ``f(frames, *, option=default, ...) -> Drawing`` as a figure kind."""

    def wrap(function: Draw) -> Draw:
        if name in _kinds:
            raise AssertionError(f"two figures of the kind {name}")
        _kinds[name] = function
        return function

    return wrap


def kinds() -> dict[str, tuple[str, dict[str, str]]]:
    """Figure kind -> (what it shows, option -> type and default as its signature says)."""
    return {
        name: (
            (inspect.getdoc(f) or "").partition("\n")[0],
            {p.name: _declared(p) for p in _parameters(f)} | COMMON,
        )
        for name, f in sorted(_kinds.items())
    }


def find(name: str, where: str = "figures") -> Draw:
    """The function that draws this kind; UnknownNameError with 'did you mean' otherwise."""
    if name not in _kinds:
        raise unknown("figure kind", name, _kinds, where)
    return _kinds[name]


def _parameters(function: Draw) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())[1:]


def _declared(parameter: inspect.Parameter) -> str:
    """``str | None = None``, as the source says it."""
    default = "" if parameter.default is inspect.Parameter.empty else f" = {parameter.default!r}"
    return f"{parameter.annotation}{default}"


@cache
def _types(name: str) -> dict[str, TypeAdapter[Any]]:
    hints = typing.get_type_hints(_kinds[name])
    return {p.name: TypeAdapter(hints[p.name]) for p in _parameters(_kinds[name])}


def check_options(kind: str, options: Mapping[str, Any], where: str = "figures") -> None:
    """Raises a HarnessError for a kind that nothing draws, and for options that its figure does not take.

    ``options`` as a suite gives them, without their ``kind``; ``where`` begins the message.
    """
    place, parameters = f"{where}: {kind}", _parameters(find(kind, where))
    known = [*(p.name for p in parameters), *COMMON]
    for option, value in options.items():
        if option not in known:
            raise unknown("option", str(option), known, place)
        declared = kinds()[kind][1][option]
        adapter = TypeAdapter(str) if option in COMMON else _types(kind)[option]
        try:
            adapter.validate_python(value, strict=True)
        except ValidationError as error:
            said = error.errors()[0]["msg"]
            raise HarnessError(f"{place}: option {option!r}: {said} (got {value!r}); it is {declared}") from None
    missing = [p.name for p in parameters if p.default is inspect.Parameter.empty and p.name not in options]
    if missing:
        raise HarnessError(f"{place}: needs {', '.join(missing)}; its options: {', '.join(known)}")


def draw(
    kind: str, frames: Frames, options: Mapping[str, Any] | None = None, *, columns: int | None = None
) -> Drawing:
    """Draw one figure with a suite's options; ``columns`` limits the panels beside each other: 1 fits a phone.

    Raises MissingDataError with the reason if the frames lack what it shows, and what ``check_options`` raises.
    """
    options = dict(options or {})
    check_options(kind, options)
    with matplotlib.rc_context(THEME):
        drawing = _kinds[kind](frames, **{k: v for k, v in options.items() if k not in COMMON})
        drawing.sheet.arrange(columns)
        return drawing


def relaid(drawing: Drawing, columns: int) -> Drawing:
    """The same drawing with at most so many panels beside each other; its figure is changed in place."""
    with matplotlib.rc_context(THEME):
        drawing.sheet.arrange(columns)
    return drawing
