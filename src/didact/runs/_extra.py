"""A missing optional package, said once and clearly."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from .._checks import DidactError


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
        >>> from didact.runs._extra import extra
        >>> with extra("fit"):
        ...     import a_package_that_nobody_has
        Traceback (most recent call last):
        ...
        didact.runs._extra.MissingExtra: This needs the package `a_package_that_nobody_has`: \
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
