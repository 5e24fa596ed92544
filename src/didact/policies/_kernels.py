"""A student's compiled loop. Imports numba: import this where it is used."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._draws import compiled, drawn, uniform
from ._rule import Channel, Control, Loss, Span, Value

TEACHER, STUDENT, UNIFORM, MIXTURE = (int(c) for c in Control)
LOG_TEACHER, NEXT_LOSS, NEXT_LOG_TEACHER = (
    int(c) for c in (Channel.LOG_TEACHER, Channel.NEXT_LOSS, Channel.NEXT_LOG_TEACHER)
)
NONE, CROSS, REVERSE_CROSS, KL, REVERSE_KL, JENSEN_SHANNON, NEGATIVE_ENTROPY = (
    int(loss) for loss in Loss
)
STEP, TRAJECTORY = int(Span.STEP), int(Span.TRAJECTORY)
OF_TEACHER, OF_STUDENT = int(Value.TEACHER), int(Value.STUDENT)


@compiled
def softmax(theta: Any, o: Any, p: Any, cumulative: Any, s: Any, width: Any) -> Any:
    """Fill row s of p and of its cumulation from row o of θ; return max and Σ exp(θ − max)."""
    n = len(width)
    top = theta[o, 0]
    for a in range(1, n):
        if theta[o, a] > top:
            top = theta[o, a]
    total = 0.0
    for a in range(n):
        below = theta[o, a] - top
        # Numbers too small to have all their digits take a hundred times as long.
        p[s, a] = math.exp(below) if below > -700.0 else 0.0
        total += p[s, a]
    share, so_far = 1.0 / total, 0.0
    for a in range(n):
        p[s, a] *= share
        so_far += p[s, a]
        cumulative[s, a] = so_far
    return top, total


@compiled
def loss_of(loss: Any, log_p: Any, p: Any, teacher: Any, log_teacher: Any, s: Any) -> Any:
    """ℓ of state s, but for the cross-entropy from the teacher, which needs no log p."""
    n = p.shape[1]
    total = 0.0
    if loss == REVERSE_CROSS:
        for a in range(n):
            total -= p[s, a] * log_teacher[s, a]
    elif loss == KL:
        for a in range(n):
            if teacher[s, a] > 0:
                total += teacher[s, a] * (math.log(teacher[s, a]) - log_p[s, a])
    elif loss == REVERSE_KL:
        for a in range(n):
            total += p[s, a] * (log_p[s, a] - log_teacher[s, a])
    elif loss == JENSEN_SHANNON:
        for a in range(n):
            middle = (p[s, a] + teacher[s, a]) / 2
            if teacher[s, a] > 0:
                total += teacher[s, a] * math.log(teacher[s, a] / middle) / 2
            if p[s, a] > 0:
                total += p[s, a] * (log_p[s, a] - math.log(middle)) / 2
    elif loss == NEGATIVE_ENTROPY:
        for a in range(n):
            total += p[s, a] * log_p[s, a]
    return total


@compiled
def descend(
    loss: Any, theta: Any, o: Any, log_p: Any, p: Any, teacher: Any, log_teacher: Any, s: Any,
    step: Any,
) -> None:  # fmt: skip
    """θ_o ← θ_o − step ∇ℓ of state s, for losses other than the cross-entropies to the teacher."""
    mean = 0.0
    for a in range(p.shape[1]):
        # ∂ℓ/∂p_a, up to a constant, takes the place of log p, which is no longer needed.
        if loss == REVERSE_CROSS:
            log_p[s, a] = -log_teacher[s, a]
        elif loss == REVERSE_KL:
            log_p[s, a] -= log_teacher[s, a]
        elif loss == JENSEN_SHANNON:
            middle = max((p[s, a] + teacher[s, a]) / 2, 1e-300)
            log_p[s, a] = (log_p[s, a] - math.log(middle)) / 2
        mean += p[s, a] * log_p[s, a]
    for a in range(p.shape[1]):
        theta[o, a] -= step * p[s, a] * (log_p[s, a] - mean)


@compiled
def train(
    world: Any,
    rule: Any,
    teacher: Any,
    log_teacher: Any,
    teacher_cumulative: Any,
    teacher_values: Any,
    theta: Any,
    state: Any,
    first: Any,
    updates: Any,
    rates: Any,
    critics: Any,
    limit: Any,
    width: Any,
) -> Any:
    """Updates number ``first`` … of one run, in place; steps made, and episodes cut at the limit.

    ``width`` has the length A; as a tuple it tells the compiler A, which then unrolls loops.
    One update is one episode at fixed θ. What depends on θ is worked out once per episode and
    state, and applied once: g's terms −∇log πθ(a|s) R̂ add up to Σ R̂ (p − 1_a).
    """
    next_state, cumulative, reward, effect, start, observation = world
    control, loss, channel, bootstrap, baseline, span, gate, paid = rule
    learning_rate, critic_rate, discount, anneal, subtract, trace = rates
    values, worth = critics
    n_states, n_actions = len(teacher), len(width)
    n_effects = len(next_state) // n_states
    # Of each state met in this episode:
    p, own = np.empty((n_states, n_actions)), np.empty((n_states, n_actions))
    log_p, cost = np.empty((n_states, n_actions)), np.zeros(n_states)
    stamp, met = np.full(n_states, -1), np.empty(n_states, np.int64)
    count, pull = np.zeros(n_states), np.zeros(n_states)
    value, baseline_of = np.zeros(n_states), np.zeros(n_states)
    let = np.ones(n_states, np.bool_)
    # Of each step:
    states, actions = np.empty(limit, np.int64), np.empty(limit, np.int64)
    rewards, own_rewards = np.empty(limit), np.empty(limit)
    returns = paid or channel > 0 or bootstrap > 0 or baseline > 0
    to_teacher = loss in (CROSS, KL)
    needs_log = loss in (REVERSE_KL, JENSEN_SHANNON, NEGATIVE_ENTROPY) or (
        loss == KL and channel == NEXT_LOSS
    )
    learns_values = gate or bootstrap == OF_STUDENT or baseline == OF_STUDENT
    steps, cut = 0, 0
    for k in range(first, first + updates):
        s = drawn(start, 0, uniform(state))
        t, distinct = 0, 0
        guided = 0.0
        if control == MIXTURE:
            guided = max(0.0, 1.0 - k / anneal)
        while s >= 0:
            if t == limit:
                cut += 1
                break
            if stamp[s] != k:
                stamp[s] = k
                met[distinct] = s
                distinct += 1
                count[s] = 0.0
                pull[s] = 0.0
                o = observation[s]
                top, total = softmax(theta, o, p, own, s, width)
                if needs_log:
                    norm = top + math.log(total)
                    for a in range(n_actions):
                        log_p[s, a] = theta[o, a] - norm
                if learns_values:
                    value[s] = values[o]
                    if gate:
                        let[s] = teacher_values[s] > value[s]
                if subtract:
                    baseline_of[s] = worth[o]
                if channel == NEXT_LOSS:
                    cost[s] = 0.0
                    if loss == CROSS and let[s]:
                        cost[s] = top + math.log(total)
                        for a in range(n_actions):
                            cost[s] -= teacher[s, a] * theta[o, a]
                    elif let[s]:
                        cost[s] = loss_of(loss, log_p, p, teacher, log_teacher, s)
            u = uniform(state)
            if control == STUDENT:
                a = drawn(own, s, u)
            elif control == TEACHER:
                a = drawn(teacher_cumulative, s, u)
            elif control == UNIFORM:
                a = min(int(u * n_actions), n_actions - 1)
            elif uniform(state) < guided:
                a = drawn(teacher_cumulative, s, u)
            else:
                a = drawn(own, s, u)
            row = s * n_effects + effect[a]
            outcome = drawn(cumulative, row, uniform(state))
            states[t], actions[t], rewards[t] = s, a, reward[row, outcome]
            s = next_state[row, outcome]
            t += 1
        steps += t
        # Back through the episode: what comes after the end is 0.
        to_go, paid_to_go, after = 0.0, 0.0, -1
        for i in range(t - 1, -1, -1):
            s, a = states[i], actions[i]
            count[s] += 1.0
            if returns:
                now = rewards[i] if paid else 0.0
                if bootstrap == OF_TEACHER and after >= 0:
                    now += discount * teacher_values[after]
                elif bootstrap == OF_STUDENT and after >= 0:
                    now += discount * value[after]
                if baseline == OF_TEACHER:
                    now -= teacher_values[s]
                elif baseline == OF_STUDENT:
                    now -= value[s]
                if channel == LOG_TEACHER:
                    now += log_teacher[s, a]
                elif channel == NEXT_LOSS and after >= 0:
                    now -= discount * cost[after]
                elif channel == NEXT_LOG_TEACHER and after >= 0:
                    now += discount * log_teacher[after, actions[i + 1]]
                own_rewards[i] = now
                ahead = to_go
                if trace < 1.0 and after >= 0:
                    ahead = trace * to_go + (1.0 - trace) * baseline_of[after]
                to_go = now if span == STEP else now + discount * ahead
                weight = to_go
                o = observation[s]
                if subtract:
                    weight -= baseline_of[s]
                    worth[o] += critic_rate * (to_go - worth[o])
                pull[s] += weight
                theta[o, a] += learning_rate * weight
            if learns_values:
                o = observation[s]
                paid_to_go = rewards[i] + discount * paid_to_go
                values[o] += critic_rate * (paid_to_go - values[o])
            after = s
        if span == TRAJECTORY:
            past = 0.0
            for i in range(t):
                s, a = states[i], actions[i]
                before = past
                if channel == NEXT_LOG_TEACHER and i > 0:
                    before -= log_teacher[s, a]  # r̂_{i−1} holds it, and a decides it
                pull[s] += before
                theta[observation[s], a] += learning_rate * before
                past = (past + own_rewards[i]) / discount
        for d in range(distinct):
            s = met[d]
            o = observation[s]
            push = learning_rate * count[s]
            if to_teacher and let[s]:
                both = learning_rate * pull[s] + push
                for a in range(n_actions):
                    theta[o, a] += push * teacher[s, a] - both * p[s, a]
            elif returns:
                both = learning_rate * pull[s]
                for a in range(n_actions):
                    theta[o, a] -= both * p[s, a]
            if loss != NONE and not to_teacher and let[s]:
                descend(loss, theta, o, log_p, p, teacher, log_teacher, s, push)
    return steps, cut
