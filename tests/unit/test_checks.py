"""Messages have one form: parameter, rule, what was found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from didact._checks import (
    DidactError,
    Diverged,
    InvalidInput,
    check_choice,
    check_integer,
    check_number,
    invalid,
    listed,
    shown,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(9), "9"), (np.float32(0.1), "0.1"), (np.bool_(True), "True"), ("9", "'9'"),
        (np.datetime64("2020-01-01", "ns"), "np.datetime64('2020-01-01T00:00:00.000000000')"),
    ],
)  # fmt: skip
def test_numbers_are_shown_as_they_are(value: object, text: str) -> None:
    assert shown(value) == text


@given(st.recursive(st.text() | st.integers() | st.none(), st.lists), st.integers(1, 100))
def test_shown_is_one_short_line(value: Any, limit: int) -> None:
    text = shown(value, limit)
    assert len(text) <= limit
    assert "\n" not in text
    whole = " ".join(repr(value).split())
    assert text == whole or (text.endswith("…") and whole.startswith(text[:-1]))


def test_invalid_has_the_one_form() -> None:
    error = invalid("n", "a positive integer", -1)
    assert isinstance(error, InvalidInput)
    assert str(error) == "Parameter `n` should be a positive integer. Found -1."


def test_errors_are_of_their_kind() -> None:
    assert issubclass(InvalidInput, DidactError)
    assert issubclass(InvalidInput, ValueError)
    assert issubclass(Diverged, DidactError)
    assert issubclass(Diverged, ArithmeticError)


@given(st.integers(), st.integers())
def test_check_integer(value: int, least: int) -> None:
    if value >= least:
        assert check_integer("n", value, at_least=least) is value
    else:
        with pytest.raises(InvalidInput, match=r"Parameter `n` should be .* integer"):
            check_integer("n", value, at_least=least)


@pytest.mark.parametrize("value", [0, -1, True, 1.0, "1", None, math.nan])
def test_check_integer_refuses(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"`n` should be a positive integer. Found"):
        check_integer("n", value)
    with pytest.raises(InvalidInput, match=r"`n` should be an integer of at least 2. Found"):
        check_integer("n", value, at_least=2)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(-10, 10), st.floats(-10, 10))
def test_check_number(value: float, low: float, high: float) -> None:
    for bounds, inside in (
        ({"at_least": low, "at_most": high}, low <= value <= high),
        ({"above": low, "below": high}, low < value < high),
        ({}, True),
    ):
        if inside:
            assert check_number("x", value, **bounds) == value
        else:
            with pytest.raises(InvalidInput, match=r"`x` should be a finite number"):
                check_number("x", value, **bounds)


def test_check_number_returns_a_float() -> None:
    assert type(check_number("x", 1)) is float


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, True, "1", None, [1.0]])
def test_check_number_refuses(value: Any) -> None:
    with pytest.raises(InvalidInput, match=r"`x` should be a finite number. Found"):
        check_number("x", value)


def test_check_number_names_the_bounds() -> None:
    with pytest.raises(InvalidInput, match=r"a finite number at least 0 and below 1. Found 2"):
        check_number("x", 2, at_least=0, below=1)
    with pytest.raises(InvalidInput, match=r"a finite number above 0 and at most 0.5. Found 0"):
        check_number("x", 0, above=0, at_most=0.5)


def test_check_choice() -> None:
    assert check_choice("mode", "a", ["a", "b"]) == "a"
    with pytest.raises(InvalidInput, match=r"`mode` should be one of 'a', 'b'. Found 'c'"):
        check_choice("mode", "c", ["a", "b"])


def test_listed() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "`a`, `b`"
    assert listed(iter("abcd"), limit=2) == "`a`, `b` and 2 more"
