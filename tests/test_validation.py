"""What a model refuses is said in one form, whoever asked."""

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.validation import explained, fields_at


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = Field(default=1, ge=1)


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    one: Inner | None = None
    many: dict[str, Inner] = {}
    rest: list[Inner] = []
    needed: int


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"needed": 1, "one": {"sice": 2}}, "at one.sice: one.sice: unknown key 'sice'. Did you mean 'size'?"),
        ({"needed": 1, "many": {"x": {"sice": 2}}}, "Did you mean 'size'? Valid: size."),
        ({"needed": 1, "rest": [{"sice": 2}]}, "Did you mean 'size'? Valid: size."),
        ({"needed": 1, "ones": 2}, "unknown key 'ones'. Did you mean 'one'"),
        ({}, "at needed: key 'needed' is missing"),
        ({"needed": "x"}, "an integer (got 'x')"),
        ({"needed": 1, "one": {"size": 0}}, "key 'one.size': Input should be greater than or equal to 1 (got 0)"),
    ],
)  # fmt: skip
def test_each_problem_names_place_key_value_and_what_is_valid(value, message):
    with pytest.raises(ValidationError) as told:
        Outer.model_validate(value)
    assert message in explained(told.value, Outer, lambda keys: "at " + ".".join(keys))


def test_fields_are_found_at_any_depth():
    assert fields_at(Outer, ["many", "x"]) == ["size"]
    assert fields_at(Outer, []) == ["one", "many", "rest", "needed"]
