"""What is read as YAML, read in one place: UTF-8, no key twice, and scalars that mean what they look like.

YAML 1.1, which PyYAML follows, makes 1.0 of ``lr: yes``, 8 of ``seeds: 010`` and text of ``1e-3``. Here true and
false alone are booleans, whole numbers are decimal, a number with an exponent is one; all else is text.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError

MOST_NODES = 200_000
"""Values that a text may come to, aliases expanded: beyond, it is a bomb."""
FOREIGN = ("set", "omap", "pairs", "timestamp", "binary")
"""Tags of YAML whose values are no plain data: no suite can hold a date or bytes."""
_ZEROS = re.compile(r"^[-+]?0[0-9_]+$")
_ENCODINGS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}


class ReadingError(HarnessError):
    """A text that cannot be read as what it should be; says where and why."""


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars above, and no key twice."""


_Loader.yaml_implicit_resolvers = {}

for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    (
        "float",
        r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$|^[-+]?\.(?:inf|Inf|INF)$|^\.(?:nan|NaN|NAN)$",
        "-+0123456789.",
    ),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    out: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable) or not isinstance(key, (str, int)) or isinstance(key, bool):
            raise yaml.constructor.ConstructorError(
                None, None, f"a key must be text or a whole number, found {key!r}", key_node.start_mark
            )
        if key in out:
            raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
        out[key] = loader.construct_object(value_node, deep=True)
    return out


_Loader.add_constructor("tag:yaml.org,2002:float", _float)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def read_text(path: Path) -> str:
    """The file's text. ReadingError where it cannot be read or is not UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ReadingError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    for mark, name in _ENCODINGS.items():
        if data.startswith(mark):
            raise ReadingError(f"{path}: is {name}; save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ReadingError(
            f"{path}:{line}: byte 0x{data[error.start]:02x} is not UTF-8 (Latin-1, perhaps); save it as UTF-8"
        ) from None


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text; ``where`` names it in messages. Raises ReadingError with file and line."""
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _bounded(node, where)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{where}:{mark.line + 1}" if mark else where
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ReadingError(f"{place}: not valid YAML: {problem}") from None
    except (RecursionError, ValueError) as error:
        reason = "too deeply nested" if isinstance(error, RecursionError) else str(error)
        raise ReadingError(f"{where}: not valid YAML: {reason}") from None
    except (KeyError, IndexError) as error:
        # PyYAML takes a tag at its word: !!bool maybe, !!int ''.
        reason = f"a value is not what its tag says ({error})"
        raise ReadingError(f"{where}: not valid YAML: {reason}") from None


def _bounded(root: yaml.Node, where: str) -> None:
    """No value inside itself, not more values than MOST_NODES, no number with a leading zero."""
    sizes: dict[int, int] = {}

    def size(node: yaml.Node, above: frozenset[int]) -> int:
        if id(node) in above:
            raise ReadingError(f"{where}:{node.start_mark.line + 1}: the anchor here holds an alias to itself")
        if id(node) not in sizes:
            inside = above | {id(node)}
            children: list[yaml.Node] = []
            if (tag := node.tag.removeprefix("tag:yaml.org,2002:")) in FOREIGN:
                place = f"{where}:{node.start_mark.line + 1}"
                raise ReadingError(f"{place}: tag !!{tag} is not read; write text, a number, a list or a mapping")
            if isinstance(node, yaml.MappingNode):
                children = [n for pair in node.value for n in pair]
            elif isinstance(node, yaml.SequenceNode):
                children = node.value
            elif isinstance(node, yaml.ScalarNode) and node.style is None and _ZEROS.match(node.value):
                raise ReadingError(f"{where}:{node.start_mark.line + 1}: {ambiguous(node.value)}")
            sizes[id(node)] = 1 + sum(size(child, inside) for child in children)
        if sizes[id(node)] > MOST_NODES:
            raise ReadingError(f"{where}: its aliases expand to more than {MOST_NODES:,} values")
        return sizes[id(node)]

    size(root, frozenset())


def ambiguous(text: str) -> str:
    """The sentence for a number with a leading zero."""
    plain = text.replace("_", "").lstrip("+-").lstrip("0") or "0"
    sign = "-" if text.startswith("-") else ""
    return f"{text} is octal to some readers and decimal to others; write {sign}{plain}, or quote it if it is text"


def refuse_ambiguous(value: Any, where: str) -> None:
    """ReadingError for a number with a leading zero that another grammar took for text."""
    if isinstance(value, str) and _ZEROS.match(value):
        raise ReadingError(f"{where}: {ambiguous(value)}")
