"""The papers' figures and tables again, ours beside theirs.

A :class:`Study` is one file here: a config with every number, the runs it asks for, what to show.
:func:`run_study` does what is not yet done.
"""

from . import _ldt_mujoco
from ._study import Cell, Study, run_study

STUDIES = (_ldt_mujoco.study,)

__all__ = ["STUDIES", "Cell", "Study", "run_study"]
