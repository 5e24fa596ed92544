"""Many runs: independent cells, search, resume.

- :func:`run_cells` evaluates a function at many configs, each once, through kills and restarts;
  :func:`key` names a config by its content.
- :func:`search` chooses configs by TPE in fixed batches (:class:`Real`, :class:`Integer`,
  :class:`Choice` make its space), :func:`best` picks the winning :class:`Trial`; :func:`drawn`
  draws them at random.
- :func:`locked` holds a folder against a second process.
- :func:`write_atomic`, :func:`write_json`, :func:`read_json`: files that are there in full or not
  at all.
- :class:`Stored`: the training runs of one command; :func:`refuse_another`, :func:`usable_device`
  and :func:`versions` are what its folder and its record need.
- :class:`Progress`: one bar, or plain lines where no terminal is.

joblib, Optuna, filelock and tqdm (the extra ``didact[fit]``) are imported where they are used.
"""

from .._checks import MissingExtra, need
from ._cells import Backend, CellFailed, run_cells
from ._cores import cores
from ._files import check_json, read_json, write_atomic, write_json
from ._home import refuse_another, usable_device, versions
from ._key import key
from ._lock import FolderBusy, locked
from ._progress import Progress
from ._search import Searching, Trial, best, search, searching, together
from ._space import Choice, Integer, Real, Space, drawn
from ._stored import Stored

__all__ = [
    "Backend",
    "CellFailed",
    "Choice",
    "FolderBusy",
    "Integer",
    "MissingExtra",
    "Progress",
    "Real",
    "Searching",
    "Space",
    "Stored",
    "Trial",
    "best",
    "check_json",
    "cores",
    "drawn",
    "key",
    "locked",
    "need",
    "read_json",
    "refuse_another",
    "run_cells",
    "search",
    "searching",
    "together",
    "usable_device",
    "versions",
    "write_atomic",
    "write_json",
]
