"""Long tables, a row per visit, as tables of what was known first and what came later."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._checks import InvalidInput, check_integer, invalid, listed

if TYPE_CHECKING:
    import pandas as pd


def first_visit(visits: pd.DataFrame, *, group: str, time: str, later: int = 4) -> pd.DataFrame:
    """One row per group: its first visit, and the visits after it as privileged columns.

    A column that is the same at all visits of every group (an outcome, the sex) stays one column.
    Any other column ``c`` has its value at the first visit, and as ``later_1_c`` … ``later_n_c``
    its values at the visits after it; they are missing where a group had fewer visits.
    The columns ``later_*`` are what ``--privileged 'later_*'`` means.

    Args:
        visits: a row per visit, in any order.
        group: the column that says whose visit it was.
        time: the column by which the visits of a group are ordered.
        later: n, visits after the first that are kept.

    Raises:
        InvalidInput: a column is not there, a value of ``group`` or ``time`` is missing, or a
            group has two visits at one time.

    Example:
        >>> import pandas as pd
        >>> visits = pd.DataFrame({
        ...     "patient": ["a", "a", "b", "a"], "day": [0, 30, 0, 60],
        ...     "bili": [1.0, 2.0, 0.5, 4.0], "died": [1, 1, 0, 1],
        ... })
        >>> wide = first_visit(visits, group="patient", time="day", later=2)
        >>> list(wide.columns)[:5]
        ['patient', 'day', 'bili', 'died', 'later_1_day']
        >>> wide["later_2_bili"].tolist()
        [4.0, nan]
    """
    import pandas as pd

    if not isinstance(visits, pd.DataFrame):
        raise invalid("visits", "a DataFrame", visits)
    check_integer("later", later)
    names = [str(name) for name in visits.columns]
    for role, name in (("group", group), ("time", time)):
        if name not in names:
            raise invalid(role, f"one of the columns {listed(names)}", name)
        if bool(visits[name].isna().any()):
            raise invalid(role, "a column without missing values", f"some missing in `{name}`")
    if group == time:
        raise invalid("time", "another column than the group", time)
    if twice := visits[visits.duplicated([group, time])][group].tolist():
        raise InvalidInput(
            f"A group should have one visit at a time. Found two at one `{time}` of {twice[0]!r}."
        )
    ordered = visits.sort_values([group, time], kind="stable")
    number = ordered.groupby(group).cumcount()
    wide = ordered[number == 0].set_index(group)
    kinds = ordered.groupby(group).nunique(dropna=False)
    changing = [name for name in names if name != group and bool((kinds[name] > 1).any())]
    parts = [wide]
    for k in range(1, later + 1):
        visit = ordered[number == k].set_index(group)[changing].reindex(wide.index)
        parts.append(visit.add_prefix(f"later_{k}_"))
    made = [str(name) for part in parts[1:] for name in part.columns]
    if clash := sorted(set(made) & set(names)):
        raise InvalidInput(f"The table should have no columns {listed(clash)}: they are made here.")
    return pd.concat(parts, axis=1).copy().reset_index()  # one block: no warning of many
