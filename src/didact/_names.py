"""Columns by their names or by globs, and what a wrong name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from ._checks import invalid, listed


def named(
    parameter: str, patterns: Iterable[str], names: Sequence[str], **others: str | None
) -> tuple[str, ...]:
    """The columns that names or globs mean, in the order of the table.

    Args:
        parameter: what gave the patterns.
        patterns: names, or globs; a column named exactly like a glob wins over the glob.
        names: the columns.
        others: role → a column that no pattern may mean.

    Raises:
        InvalidInput: A pattern means no column, or one of ``others``.
    """
    found: set[str] = set()
    for pattern in patterns:
        exact = [pattern] if pattern in names else []
        matched = exact or [name for name in names if fnmatchcase(name, pattern)]
        if not matched:
            several = "; give it once for each column" if "," in pattern else ""
            rule = f"a pattern for {column_rule(pattern, names)}{several}"
            raise invalid(parameter, rule, pattern)
        for role, name in others.items():
            if name in matched:
                narrower = f", as `{pattern[:-1]}[…]` may" if pattern[1:].endswith("*") else ""
                rule = f"a pattern that leaves out the {role} `{name}`{narrower}"
                raise invalid(parameter, rule, pattern)
        found.update(matched)
    return tuple(name for name in names if name in found)


def column_rule(name: str, names: Sequence[str]) -> str:
    """A rule for a column's name, with those that it may have been meant for."""
    close = difflib.get_close_matches(name, names, n=3)
    close += [n for n in names if n.casefold() == name.casefold() and n not in close]
    hint = f"; did you mean {listed(close)}?" if close else ""
    return f"one of the columns {listed(names)}{hint}"
