"""A network read as blocks, and held against the network itself: what is bounded is what computes."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lliptools.domains.center import Center, at_center
from lliptools.errors import InvalidInput, UnsupportedLayer, in_words
from lliptools.nets import Block, read_blocks
from lliptools.nets.calls import alone
from lliptools.nets.checks import home
from lliptools.nets.layers import is_own
from lliptools.nets.modules import left_as_it_was
from lliptools.norms.rounding import is_outward, outward_rounding

SCALES = (1e-3, 1.0, 1e3)  # of the random points, in units of the largest value of x
POINTS = 2  # random ones of each scale
CALLED = (
    "a network that can be called with x, and returns a tensor",
    "layers on several devices, or numbers of a layer that were changed after it was built",
    "make net(x) work",
)
ROOM = 4.0  # times the running error, since the network adds up in another order than its blocks
P = ParamSpec("P")
R = TypeVar("R")
_kept: ContextVar[tuple[nn.Module, dict[Any, tuple[Block, ...]]] | None] = ContextVar("_kept", default=None)


def reads_once(function: Callable[Concatenate[nn.Module, P], R]) -> Callable[Concatenate[nn.Module, P], R]:
    """A function of many bounds of a network: its blocks are kept until it ends, and compared with it at every call."""

    @wraps(function)
    def called(net: nn.Module, *args: P.args, **kwargs: P.kwargs) -> R:
        kept = _kept.get()
        token = _kept.set(kept if kept and kept[0] is net else (net, {}))
        try:
            return function(net, *args, **kwargs)
        finally:
            _kept.reset(token)

    return called


@alone
def read(net: nn.Module, x: Tensor) -> tuple[Block, ...]:
    """The blocks of a network in float64 (nets.read_blocks), compared with net(x) at the points and at random ones.

    x: (batch, *sample), as nets.check_input takes it. The network is called once, with its weights as float64 numbers.
    Raises UnsupportedLayer, naming the first layer behind which the two differ by more than rounding can explain.
    """
    blocks = _blocks(net, x.shape[1:])
    with torch.no_grad(), left_as_it_was(net) if any(map(is_own, net.modules())) else nullcontext():
        points = _points(x)
        try:
            same = _agree(net, blocks, points, batches=(1, len(x)))
        except InvalidInput:  # as of a forward method that turns its input to float32
            own = next((p.dtype for p in net.parameters() if is_own(net) and p.dtype == torch.float32), None)
            if own is None:
                raise
            same = _agree(net, blocks, points.to(own).double(), own, (1, len(x)))
        if not same:
            cause = "an attribute that was changed after the layer was built, or a layer that writes over its input"
            step = "build the layer anew with the numbers it is to have, and with inplace=False"
            if is_own(net):
                cause = "a forward method that mixes the points of a batch, or sums in which large numbers cancel"
                step = "write it as a function of each point alone"
            got = f"a network that differs from what was read of it behind {_first_difference(net, points)}"
            raise UnsupportedLayer("layers that compute what their class says", got, cause, step)
    return blocks


def _blocks(net: nn.Module, shape: torch.Size) -> tuple[Block, ...]:
    kept, key = _kept.get(), (shape, torch.is_grad_enabled(), torch.is_inference_mode_enabled(), is_outward())
    if kept is None or kept[0] is not net:
        return read_blocks(net, shape)
    if key not in kept[1]:
        kept[1][key] = read_blocks(net, shape)
    return kept[1][key]


def _points(x: Tensor) -> Tensor:
    """x in float64, and random points of the same shape: their generator is their own, and always the same."""
    x = x.detach().to(home(x.device)).double()
    generator = torch.Generator("cpu").manual_seed(0)
    shape = POINTS * len(SCALES), *x.shape[1:]
    noise = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
    scales = torch.tensor(SCALES, dtype=torch.float64, device="cpu").repeat_interleave(POINTS)
    noise = (noise * scales.view(-1, *[1] * (x.dim() - 1))).to(x.device) * x.abs().amax().clamp(1e-3, 1e6)
    return torch.cat([x, noise])


def _agree(
    net: nn.Module,
    blocks: tuple[Block, ...],
    points: Tensor,
    dtype: torch.dtype = torch.float64,
    batches: tuple[int, ...] = (),
) -> bool:
    """Whether network and blocks have the same outputs, up to what rounding can explain; infinite ones tell nothing.

    dtype: in which the network computes. batches: how many of the first points a forward method is given by themselves,
    besides all, with a graph: it may look at how many there are, and whether there is one.
    """
    with in_words(*CALLED), outward_rounding():
        found = at_center(blocks, Center.exact(points.flatten(1)))[-1]
    own, given = any(map(is_own, net.modules())), []
    with suppress(InvalidInput), torch.set_grad_enabled(own):
        given.append((len(points), _called(net, points, dtype).detach()))
    if not given:
        given.append((len(points), _called(net, points, dtype)))
    for count in dict.fromkeys(batches if own else ()):
        with suppress(InvalidInput):  # so few points may have no output, and no other one
            given.append((count, _called(net, points[:count], dtype)))
    room = ROOM * torch.finfo(dtype).eps / torch.finfo(torch.float64).eps
    for count, wanted in given:
        value, doubt = found.value[:count], found.doubt[:count]
        # One point alone may lose its axis, as by squeeze().
        wanted = wanted.flatten(1) if count > 1 else wanted.reshape(1, -1)
        if wanted.shape != value.shape:
            return False
        near = (wanted.double() - value).abs() <= room * doubt
        if not (near | ~value.isfinite() | doubt.isinf()).all():
            return False
    return True


def _called(net: nn.Module, points: Tensor, dtype: torch.dtype) -> Tensor:
    """net(points) with all its numbers in a precision; points are left as they are."""
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    tensors = {name: t.to(home(t.device)) for name, t in tensors.items()}
    doubled = {name: t.to(dtype) if t.is_floating_point() else t for name, t in tensors.items()}
    points = points.to(dtype, copy=True)
    with in_words(*CALLED):
        with torch.autocast(points.device.type, enabled=False), torch.random.fork_rng(devices=[]):
            try:
                found = functional_call(net, doubled, (points.clone(),))
            except RuntimeError:  # as of a network that takes one point at a time
                found = torch.cat([functional_call(net, doubled, (point,)) for point in points.clone().split(1)])
        if not isinstance(found, Tensor):
            raise TypeError(f"outputs in a {type(found).__name__}")
        return found


def _first_difference(net: nn.Module, points: Tensor) -> str:
    if type(net) is not nn.Sequential:
        return "its forward method"
    for end in range(1, len(net) + 1):
        part = net[:end]
        there = next((parameter.device for parameter in part.parameters()), torch.device("cpu"))
        try:
            same = _agree(part, read_blocks(part, points.shape[1:]), points.to(home(there)))
        except (InvalidInput, UnsupportedLayer):
            continue  # as of a network that does nothing yet
        if not same:
            return f"layer {end - 1} ({type(net[end - 1]).__name__})"
    return "its last layer"
