"""How good a network is on the points held out, while it is trained."""

from contextlib import AbstractContextManager

import torch
from torch import nn

from lliptools.certificates.attacks import is_correct
from lliptools.certificates.stages import certify_in_stages
from lliptools.training.batches import batches
from lliptools.training.data import Split
from lliptools.training.distributed import Team

AT_ONCE = 256


def same_random_numbers(device: torch.device) -> AbstractContextManager[None]:
    """What is drawn inside leaves torch's random numbers as they were: looking on must not change what is trained."""
    return torch.random.fork_rng([device] if device.type == "cuda" else [])


def validated(net: nn.Sequential, data: Split, eps: float, team: Team) -> dict[str, float]:
    """Clean and certified accuracy on the validation part, by the local bound at eps; each of a team has its share."""
    if data.y_validation is None:
        return {}
    x, y = map(team.share, data.stored("validation"))
    counts = torch.zeros(2, dtype=torch.int64, device=x.device)
    with same_random_numbers(x.device):
        for points, labels in batches(x, y, AT_ONCE, shuffle=False, dtype=torch.float64):
            right = is_correct(net, points, labels)
            # Whoever is misclassified is not certified: only the others cost.
            holds = certify_in_stages(net, points[right], labels[right], eps).holds if right.any() else right
            counts += torch.stack((right.sum(), holds.sum()))
    clean, certified = team.total(counts).tolist()
    of = len(data.y_validation)
    return {"validation_clean": clean / of, "validation_certified": certified / of}
