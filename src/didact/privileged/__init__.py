"""Train on privileged information x*, deploy on x.

Methods, each with ``parameters()`` for the student's optimizer and ``loss((x, x*, y))``:

- ``LDT``: a teacher trained by meta-gradients turns x* into targets for the activations.
- ``FixedTeacher``: a teacher that never learns (untrained: the ablation FT).
- ``Auxiliary``: a head predicts x*.
- ``GeneralisedDistillation``: the student imitates a model of x*, which is trained first.
- ``TRAM``: features are learnt beside x*, and a head does without; a body and two heads.
- ``NoTeacher``: x* is not looked at.

Their rival, with an interface of its own: ``Trees``, boosted trees on x alone.

Teaching losses: ``mse``, ``gated_mse``, ``kl``. Around them: ``Taught`` makes a student of any
module, ``teach`` calls a teacher once for n batches, ``stack`` makes n batches one;
``Seeds`` trains S small networks at once, ``each`` makes their losses.
"""

from ._auxiliary import Auxiliary
from ._fixed_teacher import FixedTeacher
from ._generalised_distillation import GeneralisedDistillation
from ._ldt import LDT, MetaStep, stack
from ._losses import flat, gated_mse, kl, mse
from ._no_teacher import NoTeacher
from ._seeds import Seeds, each
from ._taught import Taught
from ._teach import teach
from ._tram import TRAM
from ._trees import Trees

__all__ = [
    "LDT",
    "TRAM",
    "Auxiliary",
    "FixedTeacher",
    "GeneralisedDistillation",
    "MetaStep",
    "NoTeacher",
    "Seeds",
    "Taught",
    "Trees",
    "each",
    "flat",
    "gated_mse",
    "kl",
    "mse",
    "stack",
    "teach",
]
