"""The loss whose gradient is a rule's update, for any policy network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution

from .._checks import InvalidInput, check_number, invalid
from ._divergences import check_pair, divergence, log_prob_of_teacher
from ._episodes import Episodes, check_finite, check_values, looked_at, returns
from ._rule import Channel, Control, Loss, Rule, Span, Value, check_rule


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
    one that was cut off the critic, ℓ and the expected log π in its last state tell what would
    have come. Where the student acts the critic is the baseline b, too; where another does, b is 0:
    it would change the update.

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
        critic: v, ``[B, T + 1]``, fitted to :func:`rule_returns`; where it is missing there is no
            baseline, and no episode may be cut off of a rule that sums rewards.
        trace: λ.
        discounted_states: weigh step t by γ^t. Only so a rule with γ < 1 has the objective that the
            table states; in practice it is left out, as late states would hardly count.

    Returns:
        A scalar.

    Raises:
        InvalidInput: shapes that do not fit, actions that the policies do not have, values that a
            rule needs and were not given, a policy without support where the other has some, NaN.

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
    check_number("trace", trace, at_least=0, at_most=1)
    loss = _losses(rule, episodes, student, teacher, discount, teacher_values, values)
    check_values("critic", critic, episodes)
    mask = episodes.mask
    total = torch.where(mask, loss[:, :-1], 0.0)
    if rule.returns:
        with torch.no_grad():
            r_hat = _rewards(
                rule, episodes, student, teacher, loss, discount, teacher_values, values
            )
            to_go = _sums(rule, episodes, r_hat, discount, critic, trace)
            if critic is not None and rule.control is Control.STUDENT:
                to_go = to_go - critic.detach()[:, :-1]
            if rule.span is Span.TRAJECTORY:
                to_go = to_go + _past(rule, episodes, teacher, r_hat, discount)
            check_finite("R̂", to_go, mask)
        log_p = torch.where(mask, _log_prob(student.log_prob, episodes)[:, :-1], 0.0)
        check_finite("log πθ(a_t|s_t)", log_p.detach(), mask, WHY)
        total = total - log_p * torch.where(mask, to_go, 0.0)
    if discounted_states:
        steps = torch.arange(mask.shape[1], device=mask.device)
        total = total * discount ** steps.to(total.dtype)
    return total.sum() / len(mask)


def rule_returns(
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
) -> Tensor:
    """R̂_t of a rule, from the step on, 0 behind the end: what its critic is fitted to.

    Args:
        rule, episodes, student, teacher, discount, teacher_values, values, critic, trace: as in
            :func:`surrogate`.

    Returns:
        ``[B, T]``, without gradient.

    Raises:
        InvalidInput: as :func:`surrogate`.

    Example:
        >>> from torch.distributions import Categorical
        >>> from didact.policies import n_distill
        >>> one = Episodes(torch.zeros(1, 2), torch.ones(1, 2), torch.tensor([2]),
        ...                torch.tensor([True]))
        >>> policy = Categorical(logits=torch.zeros(1, 3, 2))
        >>> rule_returns(n_distill.with_reward(), one, policy, policy)  # 1 − log 2 + 1, then 1
        tensor([[1.3069, 1.0000]])
    """
    check_number("trace", trace, at_least=0, at_most=1)
    with torch.no_grad():
        loss = _losses(rule, episodes, student, teacher, discount, teacher_values, values)
        check_values("critic", critic, episodes)
        r_hat = _rewards(rule, episodes, student, teacher, loss, discount, teacher_values, values)
        found = _sums(rule, episodes, r_hat, discount, critic, trace)
    return torch.where(episodes.mask, found, 0.0)


def _sums(
    rule: Rule,
    episodes: Episodes,
    rewards: Tensor,
    discount: float,
    critic: Tensor | None,
    trace: float,
) -> Tensor:
    """R̂_t but for the past."""
    if rule.span is Span.STEP:
        return rewards
    rewards = torch.where(episodes.mask, rewards, 0.0)
    return returns(episodes, rewards, discount, critic, trace)


WHY = ": a NaN in a policy, or one without support where the other has some"


def _losses(
    rule: Rule,
    episodes: Episodes,
    student: Distribution,
    teacher: Distribution,
    discount: float,
    teacher_values: Tensor | None,
    values: Tensor | None,
) -> Tensor:
    """ℓ_t, ``[B, T + 1]``, once everything has been checked."""
    check_rule(rule, discount)
    if not isinstance(episodes, Episodes):
        raise invalid("episodes", "of Episodes", episodes)
    check_pair(student, teacher)
    b, steps = episodes.rewards.shape
    for name, policy in (("student", student), ("teacher", teacher)):
        if tuple(policy.batch_shape) != (b, steps + 1):
            rule_ = f"a distribution of batch shape [{b}, {steps + 1}]: the states after all steps"
            raise invalid(name, rule_, list(policy.batch_shape))
    _check_actions(episodes, student)
    given = {"teacher_values": teacher_values, "values": values}
    for name, value in (("teacher_values", Value.TEACHER), ("values", Value.STUDENT)):
        if value in rule.uses:
            if given[name] is None:
                raise invalid(name, f"given: the rule {rule.name} uses it", None)
            check_values(name, given[name], episodes)
    if not rule.loss:
        return episodes.rewards.new_zeros(b, steps + 1)
    loss = divergence(rule.loss, student, teacher)
    if rule.gate:
        assert teacher_values is not None
        assert values is not None
        loss = torch.where(teacher_values > values, loss, 0.0)
    check_finite(rule.loss.name, loss.detach(), looked_at(episodes), WHY)
    return loss


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
    at = torch.arange(episodes.rewards.shape[1] + 1, device=episodes.rewards.device)
    end = at == episodes.lengths[:, None]
    over = end[:, 1:] & episodes.terminated[:, None]
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
            found = found + _log_prob(partial(log_prob_of_teacher, teacher), episodes)[:, :-1]
        case Channel.NEXT_LOSS:
            found = found - after(loss)
        case Channel.NEXT_LOG_TEACHER:
            log_p = _log_prob(partial(log_prob_of_teacher, teacher), episodes)
            if not bool(episodes.terminated.all()):
                # Where an episode was cut off no action was drawn: the expectation of who acts.
                acting = {Control.STUDENT: student, Control.TEACHER: teacher}.get(rule.control)
                if acting is None:
                    why = f"episodes that ended: {rule.name} asks for an action that was not drawn"
                    raise invalid("episodes", why, "some that were cut off")
                expected = -divergence(Loss.REVERSE_CROSS_ENTROPY, acting, teacher)
                log_p = torch.where(end, expected, log_p)
            found = found + after(log_p)
    found = found.detach()
    check_finite("r̂", found, episodes.mask, WHY)
    return found


def _past(
    rule: Rule, episodes: Episodes, teacher: Distribution, rewards: Tensor, discount: float
) -> Tensor:
    """Σ_{i < t} γ^{i−t} r̂_i, without log π(a_t|s_t), which is in r̂_{t−1} of one rule."""
    found = torch.zeros_like(rewards)
    for t in range(1, rewards.shape[1]):
        found[:, t] = (found[:, t - 1] + rewards[:, t - 1]) / discount
    if rule.channel is Channel.NEXT_LOG_TEACHER:
        found[:, 1:] -= _log_prob(partial(log_prob_of_teacher, teacher), episodes)[:, 1:-1]
    return found


def _log_prob(of: Callable[[Tensor], Tensor], episodes: Episodes) -> Tensor:
    """log-probability of the actions, ``[B, T + 1]``; behind the end that of the first action."""
    actions, mask = episodes.actions.detach(), episodes.mask
    mask = mask.reshape(*mask.shape, *[1] * (actions.dim() - 2))
    first = actions[:, :1]
    whole = torch.cat([torch.where(mask, actions, first), first], 1)
    try:
        return of(whole)
    except ValueError as error:
        raise InvalidInput(
            f"Parameter `actions` should be in the support of both policies. {error}"
        ) from None


def _check_actions(episodes: Episodes, policy: Distribution) -> None:
    found, shape = episodes.actions, (*episodes.rewards.shape, *policy.event_shape)
    if tuple(found.shape) != shape:
        raise invalid("actions", f"a tensor {list(shape)}, as the policies'", list(found.shape))
    if isinstance(policy, Categorical):
        n, made = policy.logits.shape[-1], found[episodes.mask]
        bad = ~((made >= 0) & (made < n) & (made == made.long()))
        if bool(bad.any()):
            raise invalid("actions", f"integers from 0 to {n - 1}", made[bad][0].item())
