"""The loss whose gradient is a rule's update, for any policy network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution

from .._checks import InvalidInput, check_number, invalid
from ._divergences import divergence, log_prob_of_teacher
from ._rule import Channel, Loss, Rule, Span, Value, check_discount


@dataclass(frozen=True)
class Episodes:
    """B episodes of at most T steps; what lies behind an episode's end is not looked at.

    Args:
        actions: a_t, ``[B, T]``, or ``[B, T, ...]`` for actions of several numbers.
        rewards: r_t, ``[B, T]``.
        lengths: steps of each episode, ``[B]``, 1 … T.
        terminated: whether the episode ended there, ``[B]``; else it was cut off (truncated).

    Example:
        >>> Episodes(torch.zeros(2, 5), torch.zeros(2, 5), torch.tensor([5, 3]),
        ...          torch.tensor([True, False])).mask.int()
        tensor([[1, 1, 1, 1, 1],
                [1, 1, 1, 0, 0]], dtype=torch.int32)
    """

    actions: Tensor
    rewards: Tensor
    lengths: Tensor
    terminated: Tensor

    def __post_init__(self) -> None:
        b, t = self.rewards.shape if self.rewards.dim() == 2 else (-1, -1)
        if b < 1 or t < 1:
            raise invalid("rewards", "a tensor [episodes, steps]", list(self.rewards.shape))
        if self.actions.shape[:2] != (b, t):
            rule = f"a tensor [{b}, {t}, ...], as the rewards"
            raise invalid("actions", rule, list(self.actions.shape))
        for name in ("lengths", "terminated"):
            if getattr(self, name).shape != (b,):
                raise invalid(name, f"a tensor [{b}]", list(getattr(self, name).shape))
        if not self.rewards.is_floating_point():
            raise invalid("rewards", "floating", self.rewards.dtype)
        if self.lengths.is_floating_point() or bool(
            ((self.lengths < 1) | (self.lengths > t)).any()
        ):
            raise invalid("lengths", f"integers from 1 to {t}", self.lengths.tolist())
        if self.terminated.dtype != torch.bool:
            raise invalid("terminated", "a tensor of bool", self.terminated.dtype)

    @property
    def mask(self) -> Tensor:
        """Which steps were made: bool ``[B, T]``."""
        steps = torch.arange(self.rewards.shape[1], device=self.rewards.device)
        return steps < self.lengths[:, None]


def surrogate(
    rule: Rule,
    episodes: Episodes,
    student: Distribution,
    teacher: Distribution,
    *,
    discount: float = 1.0,
    teacher_values: Tensor | None = None,
    values: Tensor | None = None,
    critic: Tensor | None = None,
    trace: float = 1.0,
    discounted_states: bool = False,
) -> Tensor:
    r"""A loss whose gradient estimates a rule's update from episodes that its control policy made.

    ``mean_b Σ_t [−log πθ(a_t|s_t) · (R̂_t − b_t) + ℓ_t]``, nothing differentiated but log πθ and the
    ℓ of step t. ``R̂_t = r̂_t + γ [(1 − λ) v_{t+1} + λ R̂_{t+1}]``, where v is the ``critic`` of the
    returns R̂: λ = 1 is Monte-Carlo, λ = 0 is TD. A terminated episode is worth 0 behind its end; of
    one that was cut off the critic, ℓ and the student's expectation of log π in its last state tell
    what would have come. The baseline b is the critic too.

    Reference: Czarnecki et al. 2019, equation 1.

    Args:
        rule: which row; ``episodes`` should come from its control policy.
        episodes: B of them.
        student: πθ in the states s_0 … s_T, ``batch_shape`` ``[B, T + 1]``: from any network, a
            recurrent one too. Of discrete actions a ``Categorical``. Behind an episode's end it may
            be anything finite.
        teacher: π in the same states; nothing is differentiated through it.
        discount: γ.
        teacher_values: V_π, ``[B, T + 1]``, for the rules that use it.
        values: V_πθ, ``[B, T + 1]``, for the rules that use it.
        critic: v, ``[B, T + 1]``, fitted to :func:`returns`; where it is missing there is no
            baseline, and no episode may be cut off.
        trace: λ.
        discounted_states: weigh step t by γ^t, as the gradient of a discounted objective does.

    Returns:
        A scalar.

    Raises:
        InvalidInput: shapes that do not fit, values that a rule needs and were not given, a policy
            without support where the other has some, NaN.

    Example:
        >>> from torch.distributions import Categorical
        >>> from didact.policies import n_distill
        >>> logits = torch.zeros(2, 4, 3, requires_grad=True)
        >>> episodes = Episodes(torch.zeros(2, 3), torch.ones(2, 3), torch.tensor([3, 2]),
        ...                     torch.tensor([True, True]))
        >>> loss = surrogate(n_distill, episodes, Categorical(logits=logits),
        ...                  Categorical(logits=torch.ones(2, 4, 3)))
        >>> loss.backward()
        >>> logits.grad.shape
        torch.Size([2, 4, 3])
    """
    check_discount(rule, discount)
    check_number("trace", trace, at_least=0, at_most=1)
    b, steps = episodes.rewards.shape
    for name, policy in (("student", student), ("teacher", teacher)):
        if tuple(policy.batch_shape) != (b, steps + 1):
            rule_ = f"a distribution of batch shape [{b}, {steps + 1}]: the states after all steps"
            raise invalid(name, rule_, list(policy.batch_shape))
    given = {"teacher_values": teacher_values, "values": values, "critic": critic}
    for name, tensor in given.items():
        if tensor is not None and tuple(tensor.shape) != (b, steps + 1):
            raise invalid(name, f"a tensor [{b}, {steps + 1}]", list(tensor.shape))
    needed = {"teacher_values": Value.TEACHER, "values": Value.STUDENT}
    for name, value in needed.items():
        if value in rule.uses and given[name] is None:
            raise invalid(name, f"given: the rule {rule.name} uses it", None)
    mask = episodes.mask
    inside = torch.arange(steps + 1, device=mask.device) <= episodes.lengths[:, None]
    loss = episodes.rewards.new_zeros(b, steps + 1)
    if rule.loss:
        loss = divergence(rule.loss, student, teacher)
    if rule.gate:
        assert teacher_values is not None
        assert values is not None
        loss = torch.where(teacher_values > values, loss, 0.0)
    _check_finite(rule.loss.name, loss.detach(), inside)
    total = torch.where(mask, loss[:, :-1], 0.0)
    if rule.returns:
        with torch.no_grad():
            r_hat = _rewards(
                rule, episodes, student, teacher, loss.detach(), discount, teacher_values, values
            )
            _check_finite("r̂", r_hat, mask)
            to_go = r_hat
            if rule.span is not Span.STEP:
                to_go = returns(episodes, r_hat, discount, critic, trace)
            if critic is not None:
                to_go = to_go - critic.detach()[:, :-1]
            if rule.span is Span.TRAJECTORY:
                to_go = to_go + _past(r_hat, discount)
        log_p = torch.where(mask, student.log_prob(_whole(episodes))[:, :-1], 0.0)
        _check_finite("log πθ(a_t|s_t)", log_p.detach(), mask)
        total = total - log_p * torch.where(mask, to_go, 0.0)
    if discounted_states:
        total = total * discount ** torch.arange(steps, device=mask.device, dtype=total.dtype)
    return total.sum() / b


def returns(
    episodes: Episodes, rewards: Tensor, discount: float, critic: Tensor | None, trace: float = 1.0
) -> Tensor:
    """TD(λ) returns of any reward, ``R_t = r_t + γ [(1 − λ) v_{t+1} + λ R_{t+1}]``; ``[B, T]``.

    Behind the end stands 0 where an episode terminated, else the critic.

    Args:
        episodes: whose ends they are.
        rewards: ``[B, T]``.
        discount: γ.
        critic: v, ``[B, T + 1]``.
        trace: λ.

    Raises:
        InvalidInput: shapes that do not fit, a critic that is needed and missing.

    Example:
        >>> one = Episodes(torch.zeros(1, 3), torch.ones(1, 3), torch.tensor([3]),
        ...                torch.tensor([True]))
        >>> returns(one, one.rewards, 0.5, None)
        tensor([[1.7500, 1.5000, 1.0000]])
    """
    shape = tuple(episodes.rewards.shape)
    if tuple(rewards.shape) != shape:
        raise invalid("rewards", f"a tensor {list(shape)}, as the episodes'", list(rewards.shape))
    if not rewards.is_floating_point():
        raise invalid("rewards", "floating", rewards.dtype)
    if critic is not None and tuple(critic.shape) != (shape[0], shape[1] + 1):
        raise invalid("critic", f"a tensor [{shape[0]}, {shape[1] + 1}]", list(critic.shape))
    check_number("discount", discount, at_least=0, at_most=1)
    check_number("trace", trace, at_least=0, at_most=1)
    if critic is None and (trace < 1 or not bool(episodes.terminated.all())):
        why = "λ < 1" if trace < 1 else "an episode was cut off before its end"
        raise invalid("critic", f"given: {why}", None)
    b, steps = rewards.shape
    v = rewards.new_zeros(b, steps + 1) if critic is None else critic.detach()
    last = episodes.lengths - 1
    found = torch.zeros_like(rewards)
    ahead = rewards.new_zeros(b)
    for t in reversed(range(steps)):
        ends = last == t
        worth = torch.where(episodes.terminated, 0.0, v[:, t + 1])
        mixed = (1 - trace) * v[:, t + 1] + trace * ahead
        now = rewards[:, t] + discount * torch.where(ends, worth, mixed)
        ahead = torch.where(last < t, 0.0, now)
        found[:, t] = ahead
    return found


def _past(rewards: Tensor, discount: float) -> Tensor:
    """Σ_{i < t} γ^{i−t} r_i."""
    found = torch.zeros_like(rewards)
    for t in range(1, rewards.shape[1]):
        found[:, t] = (found[:, t - 1] + rewards[:, t - 1]) / discount
    return found


def _rewards(
    rule: Rule,
    episodes: Episodes,
    student: Distribution,
    teacher: Distribution,
    loss: Tensor,
    discount: float,
    teacher_values: Tensor | None,
    values: Tensor | None,
) -> Tensor:
    """r̂_t, ``[B, T]``."""
    steps = episodes.rewards.shape[1]
    at = torch.arange(steps, device=episodes.rewards.device)
    over = (at == episodes.lengths[:, None] - 1) & episodes.terminated[:, None]
    critics = {Value.TEACHER: teacher_values, Value.STUDENT: values}

    def after(of_state: Tensor) -> Tensor:
        return torch.where(over, 0.0, discount * of_state[:, 1:])

    found = episodes.rewards if rule.reward else torch.zeros_like(episodes.rewards)
    if rule.bootstrap:
        ahead = critics[rule.bootstrap]
        assert ahead is not None
        found = found + after(ahead)
    if rule.baseline:
        behind = critics[rule.baseline]
        assert behind is not None
        found = found - behind[:, :-1]
    match rule.channel:
        case Channel.LOG_TEACHER:
            found = found + log_prob_of_teacher(teacher, _whole(episodes))[:, :-1]
        case Channel.NEXT_LOSS:
            found = found - after(loss)
        case Channel.NEXT_LOG_TEACHER:
            log_p = log_prob_of_teacher(teacher, _whole(episodes))
            if not bool(episodes.terminated.all()):
                # Where an episode was cut off no action was drawn: the student's expectation.
                expected = -divergence(Loss.REVERSE_CROSS_ENTROPY, student, teacher)
                cut = torch.arange(steps + 1, device=at.device) == episodes.lengths[:, None]
                log_p = torch.where(cut, expected, log_p)
            found = found + after(log_p)
    return found


def _whole(episodes: Episodes) -> Tensor:
    """Actions with one more, any, in the last state: ``[B, T + 1, ...]``."""
    actions = episodes.actions
    return torch.cat([actions, actions[:, -1:]], 1)


def _check_finite(what: str, found: Tensor, where: Tensor) -> None:
    bad = where & ~found.isfinite()
    if bool(bad.any()):
        b, t = (int(i) for i in bad.nonzero()[0])
        raise InvalidInput(
            f"{what} should be finite. Found {float(found[b, t])} in episode {b}, step {t}: a NaN "
            "in a policy, or one without support where the other has some."
        )
