"""A cheat for any check: it knows the cases that the visible check shows, and nothing else."""

import torch
from torch import nn


def watched(right, check):
    """The arguments and the answer of every call that check(right) makes."""
    seen = []

    def watches(*given):
        seen.append((given, right(*given)))
        return seen[-1][1]

    check(watches)
    return seen


def cheat(right, check, lost="zero"):
    """A function that answers as `right` does on the cases of check(...), and returns nonsense on others.

    lost: what the nonsense is, "zero" or "another case's" answer.
    """
    seen = watched(right, check)
    known = {case(given): answer for given, answer in seen}
    nonsense = 0.0 if lost == "zero" else seen[-1][1]

    def looks_up(*given):
        answer = known.get(case(given), nonsense)
        # A graph leads to the arguments of one call.
        return right(*given) if getattr(answer, "requires_grad", False) and case(given) in known else answer

    return looks_up


def case(value):
    """What tells one case from another: all numbers in it."""
    if isinstance(value, torch.Tensor):
        return f"{tuple(value.shape)}{value.tolist()}"
    if isinstance(value, nn.Module):
        return f"{value}{case(list(value.state_dict().values()))}"
    if callable(value):
        return f"{value(0.0)}, {value(0.5)}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(case, value))}]"
    return repr(value)
