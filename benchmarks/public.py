"""What is verified of networks that other people trained and verify, beside what is published.

    python benchmarks/public.py FOLDER            # what is missing; writes benchmarks/results/public.md
    python benchmarks/public.py FOLDER mnist_mlp  # one network anew

FOLDER holds the networks and images of the SDP-CROWN paper (Chiu, Chen, Zhang, Zhang, ICML 2025) as .npz files: layers
as `spec`, weights W0, b0, …, labels y and radius eps; images x. The first 200 images, one thread, float64 with rounding
enclosed. PUBLISHED: table 1 of that paper, in per cent of the same images. The CIFAR-10 images are divided by 0.225,
and 24/255 with them. No row but those of the input domain confines pixels to their range. On mnist_mlp the attack
leaves 50.5 % then: the published 53 % can hold for pixels within their range only.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from common import RESULTS, clocked, machine, table, write
from torch import Tensor, nn

import lliptools as ll
from lliptools.domains import Ball, Interval

THEIRS = ("global product", "LipSDP", "SDP-CROWN", "β-CROWN", "GCP-CROWN", "a full semidefinite relaxation", "PGD")
PUBLISHED = {
    "mnist_mlp": (29, 30.5, 32.5, 36, 41, 53, 54),
    "mnist_convsmall": (77.5, 78.5, 81.5, 16, "–", "–", 84.5),
    "cifar10_cnn_a": (39, 39, 49, 20, "–", "–", 55.5),
    "cifar10_convdeep": (39.5, 39.5, 46, 30.5, "–", "–", 50.5),
}
PIXELS = {"mnist": (0.0, 1.0), "cifar10": (-2.185, 2.46)}  # CIFAR-10 normalised, the widest of its three channels


def ways(name: str) -> dict[str, Callable[..., ll.Certificate]]:
    """How a network is certified."""
    domain = Interval.confined(*PIXELS[name.split("_")[0]]) & Ball
    inside = partial(ll.local_bound, domain=domain)
    return {
        "global": partial(ll.certify, bound=ll.global_bound),
        "local, any two points": partial(ll.certify, centred=False),
        "local, any two points, 8 shells": partial(ll.certify, centred=False, shells=8),
        "local": ll.certify,
        "local, linear": partial(ll.certify, linear=True),
        "local, linear, input domain": partial(ll.certify, bound=inside, linear=True),
        "tightest, any two points": partial(ll.certify, bound=ll.tightest_bound, centred=False),
        "tightest": partial(ll.certify, bound=ll.tightest_bound),
        "tightest, linear": partial(ll.certify, bound=ll.tightest_bound, linear=True),
        "tightest, linear, quadratic": partial(ll.certify, bound=ll.tightest_bound, linear=True, quadratic=True),
    }


def network(folder: Path, name: str) -> tuple[nn.Sequential, Tensor, Tensor, float]:
    """The network, its images and labels, and the radius."""
    stored, layers, k = np.load(folder / f"{name}.npz"), [], 0
    for part in json.loads(str(stored["spec"])):
        if part["type"] in ("linear", "conv"):
            weight, bias, k = torch.tensor(stored[f"W{k}"]), torch.tensor(stored[f"b{k}"]), k + 1
            rows, columns, *size = weight.shape
            sizes = {"stride": part.get("stride"), "padding": part.get("padding")}
            layer = nn.Conv2d(columns, rows, size[0], **sizes) if size else nn.Linear(columns, rows)
            layer.load_state_dict({"weight": weight, "bias": bias})
        else:
            layer = {"flatten": nn.Flatten, "relu": nn.ReLU}[part["type"]]()
        layers.append(layer)
    images = np.load(folder / f"{name.split('_')[0]}_images.npz")["x"]
    net = nn.Sequential(*layers).double().eval()
    return net, torch.tensor(images).double(), torch.tensor(stored["y"]).long(), float(stored["eps"])


def measure(folder: Path, name: str, known: dict[str, object]) -> dict[str, object]:
    """Verified per cent and seconds per image of every way that is not known, and what PGD leaves."""
    torch.set_num_threads(1)
    net, x, y, eps = network(folder, name)
    found = known | {"eps": eps, "images": len(x), "machine": machine()}
    right = net(x).argmax(dim=1) == y
    away = ll.attacks.pgd(net, x, y, eps, steps=100, restarts=4)
    for title, points in {"PGD": away, "PGD, input domain": away.clamp(*PIXELS[name.split("_")[0]])}.items():
        found[title] = [100 * (right & (net(points).argmax(dim=1) == y)).double().mean().item(), 0.0]
    for way, certify in ways(name).items():
        if way in known:
            continue
        parts = list(zip(x.split(20), y.split(20), strict=True))
        holds, seconds = clocked(lambda: [certify(net, *part, eps).holds for part in parts], time.process_time)  # noqa: B023
        found[way] = [100 * torch.cat(holds).double().mean().item(), seconds / len(x)]
        print(name, way, found[way], flush=True)
    found["GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def page(results: dict[str, dict]) -> str:
    """The stored page."""
    size = "{}: radius {eps:.4g}, {images} images, {GB:.1f} GB"
    sizes = [size.format(name, **found) for name, found in results.items()]
    rows = []
    for title in [title for title in next(iter(results.values())) if title not in ("eps", "images", "machine", "GB")]:
        each = [found[title] for found in results.values()]
        rows.append([title, *(cell for per_cent, s in each for cell in (f"{per_cent:.1f}", f"{s:.3f}" if s else ""))])
    published = [[who, *(PUBLISHED[name][k] for name in results)] for k, who in enumerate(THEIRS)]
    parts = ["# Networks that others verify", (__doc__ or "").split("\n\n", 1)[1].rstrip(), "; ".join(sizes) + "."]
    parts += [table(["verified, %", *(cell for name in results for cell in (name, "s/image"))], rows)]
    parts += ["Published, of the same images:", table(["verified, %", *results], published)]
    return "\n\n".join([*parts, *{found["machine"] for found in results.values()}]) + "\n"


if __name__ == "__main__":
    stored = RESULTS / "public.json"
    results = json.loads(stored.read_text()) if stored.exists() else {}
    for name in sys.argv[2:] or PUBLISHED:
        results[name] = measure(Path(sys.argv[1]), name, {} if sys.argv[2:] else results.get(name, {}))
        stored.write_text(json.dumps(results, indent=1) + "\n")
    write("public.md", page({name: results[name] for name in PUBLISHED if name in results}))
