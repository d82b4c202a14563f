"""Text read as YAML: scalars mean what they look like, and whatever is wrong has a sentence with its line."""

import pytest

from harness.reading import ReadingError, parse_yaml, read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("no", "no"), ("true", True), ("False", False), ("8", 8), ("-3", -3),
        ("0", 0), ("1e-3", 0.001), ("1.5E+2", 150.0), (".5", 0.5), ("1:30", "1:30"), ("~", None), ("", None),
        ("2026-11-25", "2026-11-25"), ("'010'", "010"), ("0x10", "0x10"), ("0,01", "0,01"), ("1_000", "1_000"),
        ("{32: a}", {32: "a"}),
    ],
)  # fmt: skip
def test_scalars_mean_what_they_look_like(text, value):
    found = parse_yaml(text, "t")
    assert found == value and type(found) is type(value)


BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(8)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: 010", r"t:1: 010 is octal to some readers and decimal to others; write 10"),
        ("a: 1\nb: 2\na: 3", r"t:3: not valid YAML: key 'a' stands twice"),
        ("? [a, b]\n: 1", r"t:1: not valid YAML: a key must be text or a whole number, found \['a', 'b'\]"),
        ("true: 1", "a key must be text or a whole number, found True"),
        ("a: &x [1, *x]", r"t:1: the anchor here holds an alias to itself"),
        ("a: &x {b: *x}", r"t:1: the anchor here holds an alias to itself"),
        (BOMB, "its aliases expand to more than 200,000 values"),
        ("a: [1, 2", r"t:1: not valid YAML: expected ',' or '\]'"),
        ("a:\n\t- b", r"t:2: not valid YAML: found character '\\t'"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
        ("[" * 5000, "too deeply nested"),
        ("a: *nowhere", "found undefined alias"),
        ("a: !!bool maybe", "t: not valid YAML: a value is not what its tag says"),
        ("a: !!int ''", "t: not valid YAML: a value is not what its tag says"),
        ("a: !!float abc", "could not convert string to float: 'abc'"),
        ("a: " + "9" * 5000, "t: not valid YAML: Exceeds the limit"),
        ("a: 1\nb: !!timestamp 2020-01-01", "t:2: tag !!timestamp is not read; write text, a number, a list or a"),
        ("a: !!timestamp x", "tag !!timestamp is not read"),
        ("a: !!set {x}", "tag !!set is not read"),
        ("a: !!omap [x: 1]", "tag !!omap is not read"),
        ("a: !!binary aGk=", "tag !!binary is not read"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(text, message):
    with pytest.raises(ReadingError, match=message):
        parse_yaml(text, "t")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("a: ü".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        ("a: 1\nb: ü".encode("latin-1"), r":2: byte 0xfc is not UTF-8 \(Latin-1, perhaps\)"),
    ],
)
def test_other_encodings_are_named(tmp_path, data, message):
    file = tmp_path / "t.yaml"
    file.write_bytes(data)
    with pytest.raises(ReadingError, match=message):
        read_text(file)


def test_a_byte_order_mark_is_no_part_of_the_text_and_a_missing_file_is_said(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1")
    assert parse_yaml(read_text(file), "t") == {"a": 1}
    with pytest.raises(ReadingError, match="no such file"):
        read_text(tmp_path / "none.yaml")
    with pytest.raises(ReadingError, match="is a directory"):
        read_text(tmp_path)
