"""How a data set is named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from harness.errors import HarnessError

Spec = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME] [key=value]...",
        help="python_sources, or path=my.txt tokenizer=bpe vocab_size=1024, ...",
        show_default=False,
    ),
]


def spec_of(words: Sequence[str] | None) -> dict[str, Any]:
    """``["path=my.txt", "vocab_size=9"]`` -> ``{"path": "my.txt", "vocab_size": 9}``; python_sources if empty."""
    import yaml

    spec: dict[str, Any] = {}
    for word in words or ["python_sources"]:
        key, equals, value = word.partition("=")
        if not equals:
            spec["name"] = word
            continue
        try:
            spec[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise HarnessError(f"{word!r}: {value!r} is no YAML value; quote what is text") from None
    return spec
