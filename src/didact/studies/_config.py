"""A study by its name, and its config from the command line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Literal

from .._checks import InvalidInput, extra
from ._study import Study

Size = Literal["smoke", "default", "full"]


def find(name: str | None, studies: Sequence[Study]) -> Study:
    """The study of that name.

    Raises:
        InvalidInput: naming those there are.
    """
    for study in studies:
        if study.name == name:
            return study
    names = ", ".join(f"`{study.name}`" for study in studies)
    found = "no name" if name is None else f"`{name}`"
    raise InvalidInput(f"NAME should be a study. Found {found}; there are {names}.")


def config_of(study: Study, size: Size, numbers: Sequence[str]) -> Any:
    """A study's config of some size, with numbers of the command line in the place of its own.

    Args:
        study: which.
        size: where the numbers start from.
        numbers: such as ``["--seeds", "2"]``; ``["--help"]`` prints them all and exits.

    Raises:
        InvalidInput: naming an option that is no count, or has no value.
    """
    start = {"smoke": study.smoke, "default": study.config(), "full": study.full}[size]
    with extra("studies"):
        import tyro
    config = tyro.cli(
        study.config,
        args=list(numbers),
        default=start,
        prog=f"didact study run {study.name}",
        description=f"{study.claim} Beside these numbers: --smoke, --full, --jobs, --backend, "
        "--out.",
        config=(tyro.conf.FlagConversionOff,),
    )
    for field in fields(config):
        sizes = [getattr(known, field.name) for known in (study.smoke, study.config(), study.full)]
        _check(f"--{field.name.replace('_', '-')}", getattr(config, field.name), sizes)
    return config


def _check(option: str, value: Any, sizes: Sequence[Any]) -> None:
    """Numbers and lists are as large as the study's own are: counts 1 for most, others 0."""
    if isinstance(value, tuple):
        if not value and all(sizes):
            raise InvalidInput(f"Option `{option}` should have a value. Found none.")
        sizes = [each for size in sizes for each in size]
        for each in value:
            _check(option, each, sizes)
    elif type(value) is int and sizes:
        least = min(1, *sizes)
        if value < least:
            raise InvalidInput(f"Option `{option}` should be at least {least}. Found {value}.")
    elif type(value) is float and min(sizes, default=0) >= 0 and not 0 <= value < math.inf:
        raise InvalidInput(f"Option `{option}` should be finite and at least 0. Found {value}.")
