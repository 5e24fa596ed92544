"""What a search may choose from."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._checks import check_integer, check_number, invalid

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


@dataclass(frozen=True)
class Real:
    """A real number in [low, high].

    Args:
        low: the smallest value.
        high: the largest value, above ``low``.
        log: spread evenly over magnitudes; ``low`` must then be positive.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if self.log:
            check_number("low", self.low, above=0)
        check_number("high", self.high, above=check_number("low", self.low))

    def __contains__(self, value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high


@dataclass(frozen=True)
class Integer:
    """An integer in {low, …, high}.

    Args:
        low: the smallest value.
        high: the largest value, included.
        log: spread evenly over magnitudes; ``low`` must then be positive.
    """

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        check_integer("low", self.low, at_least=1 if self.log else -(2**53))
        check_integer("high", self.high, at_least=self.low)

    def __contains__(self, value: Any) -> bool:
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and (self.low <= value <= self.high)
        )


@dataclass(frozen=True)
class Choice:
    """One of a few options, in no order.

    Args:
        options: at least one value; put in a config they must be JSON.
    """

    options: Sequence[Any]

    def __post_init__(self) -> None:
        if isinstance(self.options, str) or not self.options:
            raise invalid("options", "a sequence of at least one value", self.options)
        object.__setattr__(self, "options", tuple(self.options))

    def __contains__(self, value: Any) -> bool:
        return value in self.options


Settings = dict[str, Any]
Space = Mapping[str, Real | Integer | Choice]


def drawn(space: Space, *, trials: int, seed: int, first: Settings) -> list[Settings]:
    """``first``, and settings at random: those to try where one run serves several searches.

    The k-th value of a name depends on the name, its range, ``seed`` and k alone: spaces that share
    a name share its values, and more trials begin with those of fewer.

    Args:
        space: name → :class:`Real`, :class:`Integer` or :class:`Choice`.
        trials: how many, ``first`` included.
        seed: of every draw.
        first: for example the defaults.

    Example:
        >>> space = {"width": Choice((32, 64)), "rate": Real(1e-3, 1e-1, log=True)}
        >>> tried = drawn(space, trials=3, seed=0, first={"width": 32, "rate": 1e-2})
        >>> len(tried), [settings["width"] for settings in tried]
        (3, [32, 32, 64])
    """
    check_integer("trials", trials)
    check_settings("first", first, space)
    found = [dict(first) for _ in range(trials)]
    for name, choice in space.items():
        rng = np.random.default_rng(
            [check_integer("seed", seed, at_least=0), zlib.crc32(name.encode())]
        )
        for settings, u in zip(found[1:], rng.random(trials - 1).tolist(), strict=True):
            settings[name] = _quantile(choice, u)
    return found


def _quantile(choice: Real | Integer | Choice, u: float) -> Any:
    """The value below which a share u of the range lies."""
    if isinstance(choice, Choice):
        return choice.options[int(u * len(choice.options))]
    low, high = float(choice.low), float(choice.high)
    if isinstance(choice, Integer):  # each integer has the numbers nearest to it
        low, high = low - 0.5, high + 0.5
    value = low * math.exp(u * math.log(high / low)) if choice.log else low + u * (high - low)
    return min(max(round(value) if isinstance(choice, Integer) else value, choice.low), choice.high)


def check_settings(parameter: str, settings: Mapping[str, Any], space: Space) -> None:
    """Refuse settings that are not one point of ``space``."""
    if set(settings) != set(space):
        raise invalid(parameter, f"a dict with the keys {sorted(space)}", sorted(settings))
    for name, value in settings.items():
        if value not in space[name]:
            raise invalid(f"{parameter}.{name}", f"in {space[name]}", value)


def distribution(choice: Real | Integer | Choice) -> BaseDistribution:
    """One name's range in Optuna's words."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(choice, Real):
        return FloatDistribution(choice.low, choice.high, log=choice.log)
    if isinstance(choice, Integer):
        return IntDistribution(choice.low, choice.high, log=choice.log)
    # By place: Optuna's own categories take only a few types.
    return CategoricalDistribution(range(len(choice.options)))


def encoded(settings: Settings, space: Space) -> Settings:
    """Settings as Optuna's parameters: an option is its place."""
    return {
        name: choice.options.index(settings[name]) if isinstance(choice, Choice) else settings[name]
        for name, choice in space.items()
    }


def decoded(params: Settings, space: Space) -> Settings:
    """Optuna's parameters as settings, in the order of ``space``."""
    return {
        name: choice.options[params[name]] if isinstance(choice, Choice) else params[name]
        for name, choice in space.items()
    }
