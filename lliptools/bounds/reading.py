"""A network read as blocks, and held against the network itself: what is bounded is what computes."""

from collections.abc import Callable
from contextlib import nullcontext, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from lliptools.domains.center import Center, at_center
from lliptools.errors import InvalidInput, UnsupportedLayer, in_words
from lliptools.nets import Activation, Block, read_blocks
from lliptools.nets.blocks import alike
from lliptools.nets.calls import alone
from lliptools.nets.checked import class_numbers
from lliptools.nets.checks import device_of, home, is_plain
from lliptools.nets.difference import samples
from lliptools.nets.layers import is_own
from lliptools.nets.modules import left_as_it_was
from lliptools.norms.rounding import is_outward, outward_rounding

POINTS = 2  # random ones of each scale
CALLED = (
    "a network that can be called with x, and returns a tensor",
    "layers on several devices, or numbers of a layer that were changed after it was built",
    "make net(x) work",
)
ROOM = 4.0  # times the running error, since the network adds up in another order than its blocks
P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class _Question:
    """The network of one question, its blocks, and the numbers with which it was read first."""

    net: nn.Module
    blocks: dict[Any, tuple[Block, ...]] = field(default_factory=dict)
    numbers: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)

    @alone
    def check(self) -> None:
        """Note the numbers of the network; raise InvalidInput where others were noted before."""
        numbers, tensors = _numbers(self.net), _tensors(self.net)
        if not self.numbers:
            self.numbers, self.tensors = numbers, {name: t.clone() for name, t in tensors.items()}
            return
        same = alike(self.numbers, numbers) and self.tensors.keys() == tensors.keys()
        if not (same and all(_equal(noted, tensors[name]) for name, noted in self.tensors.items())):
            cause = "a loader or a bound function that loads weights, or goes on with training"
            step = "change the weights before or after the call, and certify afresh"
            raise InvalidInput("a network that one call finds and leaves the same", "other weights", cause, step)


_kept: ContextVar[_Question | None] = ContextVar("_kept", default=None)


def reads_once(function: Callable[Concatenate[nn.Module, P], R]) -> Callable[Concatenate[nn.Module, P], R]:
    """A function of many bounds of a network, whose blocks are kept until it ends.

    It raises InvalidInput where the weights are others at a later bound, or when it ends.
    """

    @wraps(function)
    def called(net: nn.Module, *args: P.args, **kwargs: P.kwargs) -> R:
        kept = _kept.get()
        if kept and kept.net is net:
            return function(net, *args, **kwargs)
        token = _kept.set(asked := _Question(net))
        try:
            found = function(net, *args, **kwargs)
            asked.check()
            return found
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
    kept = _kept.get()
    if kept and kept.net is net:
        kept.check()
    return blocks


def _numbers(net: nn.Module) -> dict[str, Any]:
    """What layers are, and were built with: no tensors, and nothing that forward methods of one's own may count."""
    found: dict[str, Any] = {}
    for name, module in net.named_modules():
        own = isinstance(module, Activation)
        kinds = () if is_own(module) else (float, tuple) if own else (bool, int, float, str, tuple)
        stated = {key: it for key, it in vars(module).items() if isinstance(it, kinds) and key != "training"}
        found[name] = type(module), stated, class_numbers(type(module)) if own else None
    return found


def _tensors(net: nn.Module) -> dict[str, Tensor]:
    tensors = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    return {name: t.detach() for name, t in tensors.items() if is_plain(t) and not t.is_meta}


def _equal(one: Tensor, other: Tensor) -> bool:
    """Whether all values are the same, NaN in place, in whatever precision."""
    if one.shape != other.shape or one.device != other.device:
        return False
    same = one == other
    return bool(same.all() or (same | (one.isnan() & other.isnan())).all())


def _blocks(net: nn.Module, shape: torch.Size) -> tuple[Block, ...]:
    kept, key = _kept.get(), (shape, torch.is_grad_enabled(), torch.is_inference_mode_enabled(), is_outward())
    if kept is None or kept.net is not net:
        return read_blocks(net, shape)
    if key not in kept.blocks:
        kept.blocks[key] = read_blocks(net, shape)
    return kept.blocks[key]


def _points(x: Tensor) -> Tensor:
    """x in float64, and random points of the same shape, of several scales in units of the largest value of x."""
    x = x.detach().to(home(x.device)).double()
    noise = torch.cat([*samples((POINTS, *x.shape[1:]))]).to(x.device)
    return torch.cat([x, noise * x.abs().amax().clamp(1e-3, 1e6)])


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
    wide = {name: t.to(home(t.device), dtype if t.is_floating_point() else None) for name, t in tensors.items()}
    points = points.to(dtype, copy=True)
    with in_words(*CALLED):
        with torch.autocast(points.device.type, enabled=False), torch.random.fork_rng(devices=[]):
            try:
                found = functional_call(net, wide, (points.clone(),))
            except RuntimeError:  # as of a network that takes one point at a time
                found = torch.cat([functional_call(net, wide, (point,)) for point in points.clone().split(1)])
        if not isinstance(found, Tensor):
            cause, step = "logits among other outputs", "wrap it in a module that returns the logits alone"
            raise InvalidInput("one tensor from net(x)", f"a {type(found).__name__}", cause, step)
        return found


def _first_difference(net: nn.Module, points: Tensor) -> str:
    if type(net) is not nn.Sequential:
        return "its forward method"
    for end in range(1, len(net) + 1):
        part = net[:end]
        try:
            same = _agree(part, read_blocks(part, points.shape[1:]), points.to(home(device_of(part))))
        except (InvalidInput, UnsupportedLayer):
            continue  # as of a network that does nothing yet
        if not same:
            return f"layer {end - 1} ({type(net[end - 1]).__name__})"
    return "its last layer"
