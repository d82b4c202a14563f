"""How a data set is named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from harness.commands import _completion

Spec = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME] [key=value]...",
        help="python_sources, or path=my.txt tokenizer=bpe vocab_size=1024, ...",
        show_default=False,
        autocompletion=_completion.data,
    ),
]


def spec_of(words: Sequence[str] | None) -> dict[str, Any]:
    """``["path=my.txt", "vocab_size=9"]`` -> ``{"path": "my.txt", "vocab_size": 9}``; python_sources if empty."""
    from harness.reading import parse_yaml

    spec: dict[str, Any] = {}
    for word in words or ["python_sources"]:
        key, equals, value = word.partition("=")
        if not equals:
            spec["name"] = word
            continue
        spec[key] = parse_yaml(value, repr(word))
    return spec
