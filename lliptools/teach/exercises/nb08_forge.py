"""The exercise of notebook 08 on certificate files: a lie about each part of a proof, and where it is found out."""

import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from decimal import Decimal
from typing import Any

import torch

from lliptools import checker
from lliptools.certificates.files import certificate, spelled
from lliptools.nets import mlp
from lliptools.teach.exercises.answers import ask
from lliptools.teach.exercises.exercise import Answer, Exercise, Wrong
from lliptools.teach.exercises.unseen import linear_layers

__all__ = ["Forge"]

PARTS = ("upper", "varies", "norm", "radius", "margin")


class Forge(Exercise):
    """forge(file, part) -> the file with a lie about that part of its proof, and none before it.

    file: a certificate file as a dictionary, its numbers as decimals; part: "upper", "varies", "norm", "radius" or
    "margin". lliptools.checker has to refuse the file for that part.
    """

    hints = (
        "The proof of a point is file['points'][0]; its hidden layers are point['hidden'], with lower, upper, varies, "
        "norm, factor and radius. Print one.",
        "The first page of lliptools/checker.py says what each number has to be at least, or at most. Break that.",
        "A box that is narrower than allowed, a varying unit that is said to be constant, half a norm, half a radius, "
        "twice a margin.",
    )

    @staticmethod
    def reference(file: dict[str, Any], part: str) -> dict[str, Any]:
        file = deepcopy(file)
        point = file["points"][0]
        step = point["hidden"][0]
        if part == "upper":
            step["upper"] = step["lower"]
        elif part == "varies":
            step["varies"] = [False] * len(step["varies"])
        elif part == "margin":
            point["margins"] = [2 * margin for margin in point["margins"]]
        else:
            step[part] /= 2
        return file

    @staticmethod
    def _changed(change: Callable[[dict[str, Any]], object]) -> Answer:
        def forge(file: dict[str, Any], part: str) -> dict[str, Any]:
            change(file["points"][0])
            return file

        return forge

    wrong = (
        (lambda file, part: file, "the checker accepts it: all that it says is true"),
        (_changed(lambda point: point.update(margins=[each / 2 for each in point["margins"]])), "all that it says is"),
        (_changed(lambda point: point.update(eps=10 * point["eps"])), "refuses it for 'unit"),
        (_changed(lambda point: point["hidden"][0].update(norm=Decimal(0))), "refuses it for 'norm'"),
        (_changed(lambda point: point.pop("eps")), "refuses it for 'form of a point'"),
    )

    def cases(self, seed: int) -> Iterator[tuple[str, str]]:
        for k in (0, 1):
            net, x = mlp(2, 3 + k, 3, 2).double().requires_grad_(False), torch.randn(1, 2).double()
            layers = linear_layers(net)
            for layer in layers:
                layer.bias.fill_(10.0)  # every unit varies, and has something to lie about
            layers[-1].bias[0] = 0.0  # class 1 wins by far
            text, _ = certificate(net, x, net(x).argmax(dim=1), 1e-3, "forged")
            yield from ((text, part) for part in PARTS)

    def check(self, answer: Answer, text: str, part: str) -> None:
        file = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        forged = ask(
            answer, f"a certificate and the part '{part}'", file, part, read=_written, wanted="the forged file"
        )
        try:
            checker.check(forged)
        except checker.Refused as refused:
            reason = str(refused).partition(": ")[2]
            if part not in reason.split():
                raise Wrong(f"expected a refusal for '{part}'; the checker refuses it for '{reason}' already") from None
        else:
            raise Wrong(
                f"expected a refusal for '{part}'; the checker accepts it: all that it says is true, no forgery"
            )


def _written(file: Any) -> str:
    """The text of a file. Raises TypeError for what is none."""
    if not isinstance(file, dict):
        raise TypeError
    return spelled(file)
