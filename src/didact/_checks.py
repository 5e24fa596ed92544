"""Validation at the public door, in one voice: parameter, rule, what was found."""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import is_dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np


class DidactError(Exception):
    """Base of every error that didact raises on purpose."""


class InvalidInput(DidactError, ValueError):
    """An argument, a column or a file breaks a rule that the message states."""


class Diverged(DidactError, ArithmeticError):
    """A computation left the finite numbers; the message names step and quantity."""


def shown(value: Any, limit: int = 80) -> str:
    """``repr`` cut to ``limit`` characters, so that a message stays one line."""
    plain = isinstance(value, np.number | np.bool_)  # whose repr is np.int64(3)
    text = " ".join((str(value) if plain else repr(value)).split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def invalid(parameter: str, rule: str, found: Any) -> InvalidInput:
    """The one form of a complaint: ``Parameter `p` should be …. Found …``."""
    return InvalidInput(f"Parameter `{parameter}` should be {rule}. Found {shown(found)}.")


def check_integer(
    parameter: str, value: Any, *, at_least: int = 1, at_most: float = math.inf
) -> int:
    """Return ``value`` if it is an integer in ``[at_least, at_most]``."""
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or not at_least <= value <= at_most:
        rule = "a positive integer" if at_least == 1 else f"an integer of at least {at_least}"
        raise invalid(
            parameter, rule if at_most == math.inf else f"{rule}, at most {at_most}", value
        )
    return int(value)


def check_number(
    parameter: str,
    value: Any,
    *,
    at_least: float = -math.inf,
    at_most: float = math.inf,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """Return ``value`` if it is a finite number in ``[at_least, at_most] ∩ (above, below)``."""
    number = isinstance(value, Real) and not isinstance(value, bool)
    if (
        not number
        or not math.isfinite(value)
        or not (at_least <= value <= at_most and above < value < below)
    ):
        bounds = [
            f"{word} {bound:g}"
            for word, bound in (
                ("at least", at_least),
                ("above", above),
                ("at most", at_most),
                ("below", below),
            )
            if math.isfinite(bound)
        ]
        raise invalid(parameter, " ".join(["a finite number", " and ".join(bounds)]).strip(), value)
    return float(value)


def check_choice(parameter: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return ``value`` if it is one of ``choices``."""
    if value not in choices:
        raise invalid(parameter, "one of " + ", ".join(map(repr, choices)), value)
    return value


def check_callable(parameter: str, value: Any, rule: str = "a function or a module") -> None:
    """Refuse what cannot be called."""
    if not callable(value):
        raise invalid(parameter, rule, value)


def check_optimizer(parameter: str, value: Any) -> None:
    """Refuse what ``unroll`` cannot differentiate through, such as one of ``torch.optim``."""
    if not is_dataclass(value) or not hasattr(value, "init") or isinstance(value, type):
        raise invalid(parameter, "an instance of `SGD`, `Adam`, `AdamW` or alike", value)


def check_file(parameter: str, value: Any) -> Path:
    """Return the path of a file that is there; a table in memory is none."""
    if not isinstance(value, str | os.PathLike):
        rule = "the path of a file (a table in memory has to be written to one)"
        raise invalid(parameter, rule, type(value).__name__)
    if not Path(value).is_file():
        raise invalid(parameter, "an existing file", os.fspath(value))
    return Path(value)


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Names for a message: the first ``limit`` in back-ticks, then how many more."""
    names = list(names)
    head = ", ".join(f"`{name}`" for name in names[:limit])
    return head + (f" and {len(names) - limit} more" if len(names) > limit else "")


class MissingExtra(DidactError, ImportError):
    """A package of an optional extra is not installed; the message says what to install."""


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn a failed import inside the block into the one line that helps.

    Args:
        name: the extra of didact that brings the package, for example ``"fit"``.

    Raises:
        MissingExtra: if an import inside the block finds no such module.

    Example:
        >>> from didact._checks import extra
        >>> with extra("fit"):
        ...     import a_package_that_nobody_has
        Traceback (most recent call last):
        ...
        didact._checks.MissingExtra: This needs the package `a_package_that_nobody_has`: \
pip install "didact[fit]"
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f'This needs the package `{error.name}`: pip install "didact[{name}]"'
        ) from error


def need(name: str, *packages: str) -> None:
    """Check, before any work is done, that the packages of an extra are installed.

    Args:
        name: the extra of didact that brings them.
        packages: their import names; none is imported.

    Raises:
        MissingExtra: naming the first that is missing.
    """
    for package in packages:
        with extra(name):
            if importlib.util.find_spec(package) is None:
                raise ModuleNotFoundError(name=package)
