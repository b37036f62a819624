"""Every reason to refuse a layer, before it is read."""

from contextlib import AbstractContextManager

from torch import nn

from lliptools.errors import InvalidInput, UnsupportedLayer, in_words
from lliptools.nets.activations import Activation
from lliptools.nets.designed import Designed, states_its_guarantee
from lliptools.nets.readers import check_width, read_unchanged
from lliptools.nets.registry import ACTIVATIONS, CONTAINERS, LINEAR, READABLE, Refusal, read_activation

UNCHANGED = tuple(kind for kind, reading in LINEAR.items() if reading.read is read_unchanged)
# Layers whose outputs stand in memory of their own; of all others nothing is assumed.
AVERAGES = (nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
FRESH = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.BatchNorm1d, nn.BatchNorm2d, *AVERAGES, *ACTIVATIONS)


def _always(reason: str, step: str, said: str = "") -> Refusal:
    return Refusal(lambda layer: True, said, reason, step)


NO_RULE = Refusal()
BY_SAMPLE = _always(
    "it divides by a deviation of its own input, which may be next to 0: its constant is up to 1/√eps",
    "train with torch.nn.BatchNorm1d or 2d, whose statistics are fixed in evaluation mode, or without",
)
PROBABILITIES = _always(
    "probabilities, which keep the order of the outputs: margins and labels are read before them",
    "drop it where it ends the network: net = lliptools.nets.without_softmax(net, x)",
)
SPREAD = _always("it calls another module on several devices", "pass its .module, the network itself")
REFUSED: dict[type[nn.Module], Refusal] = {
    **dict.fromkeys((nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.RMSNorm), BY_SAMPLE),
    **dict.fromkeys((nn.Softmax, nn.LogSoftmax, nn.Softmax2d), PROBABILITIES),
    **dict.fromkeys((nn.DataParallel, nn.parallel.DistributedDataParallel), SPREAD),
}
HOOK = "a hook, or a method in the place of another, may compute anything"
HOOKED = _always(HOOK, "remove it, or write it as a module of its own", " with a forward hook")
INHERITED = _always(
    "a class that changes what it computes and inherits what it guarantees",
    "define lipschitz_bound in the class itself, and let forward be made from chain",
)


def is_tampered(module: nn.Module) -> bool:
    """Whether calling the module does more than its class says: by hooks, its own or for all, or by own methods."""
    own = module._forward_hooks or module._forward_pre_hooks or vars(module).get("_compiled_call_impl")
    own = own or any(callable(getattr(type(module), name, None)) for name in vars(module))
    return bool(own or nn.modules.module._global_forward_hooks or nn.modules.module._global_forward_pre_hooks)


def check_network(net: object, what: str = "the network") -> None:
    """Raise UnsupportedLayer unless a network, or a block of one, is a module without hooks of its own."""
    if not isinstance(net, nn.Module):
        why = "a function, or another kind of model", "write it as a torch.nn.Module"
        raise UnsupportedLayer(f"a torch.nn.Module of {READABLE}", f"{what} of type {type(net).__name__}", *why)
    if (at := _hooked(net)) is not None:
        said = f"{what} of type {type(net).__name__} with a forward hook{at}"
        raise UnsupportedLayer(READABLE, said, HOOKED.reason, HOOKED.step)


def _hooked(net: nn.Module) -> str | None:
    """Where in a network, or in parts of it that are read by their operations, there is a hook that is not torch's."""
    if type(net) is nn.Sequential and is_tampered(net):
        return ""
    inside = net.named_modules() if is_own(net) else ()
    found = (name for name, part in inside if not all(map(_of_torch, _hooks(part))))
    return next((f" on {name}" if name else "" for name in found), None)


def _hooks(layer: nn.Module) -> list[object]:
    return [*layer._forward_hooks.values(), *layer._forward_pre_hooks.values()]


def _of_torch(hook: object) -> bool:
    """Whether a hook computes a weight, as of torch.nn.utils.weight_norm."""
    return type(hook).__module__.startswith("torch.nn.utils")


def is_own(layer: nn.Module) -> bool:
    """Whether a layer is read by the operations of its forward method: it has no row in the registry."""
    kind = type(layer)
    tables = (LINEAR, CONTAINERS, ACTIVATIONS, REFUSED)
    known = any(kind in table for table in tables) or isinstance(layer, Designed | Activation)
    return not known or (any(map(_of_torch, _hooks(layer))) and not isinstance(layer, nn.Sequential))


def check_differentiable(net: nn.Module) -> None:
    """Raise UnsupportedLayer for parts that are read by their operations: what is read of them has no gradient."""
    own = next(filter(is_own, net.modules()), None)
    if own is not None:
        why = "its operations are read, without gradients", "build it as such a Sequential to train it"
        raise UnsupportedLayer("known layers, for gradients", f"a part of type {type(own).__name__}", *why)


def check_layer(layer: nn.Module, name: str, *, values: bool = True) -> None:
    """Raise UnsupportedLayer or InvalidInput, naming the layer, for one that cannot be read whatever comes in.

    values: also look at its numbers, for which a GPU is waited for.
    """
    with readable(name):
        refusal = _refusal(layer)
        if refusal is not None:
            said = name + refusal.said.format(layer)
            raise UnsupportedLayer(READABLE, said, refusal.reason, refusal.step)
        if type(layer) not in CONTAINERS:
            check_tensors(layer, name, values=values)


def readable(name: str) -> AbstractContextManager[None]:
    """In which an error of torch, or of Python, becomes one that names the layer."""
    cause = "weights that are sparse, quantised or not made yet, or an option changed after the layer was built"
    return in_words(f"weights and options of {name} as torch makes them", cause, "build it anew, and make net(x) work")


def _refusal(layer: nn.Module) -> Refusal | None:
    kind = type(layer)
    if isinstance(layer, Designed):
        if not states_its_guarantee(layer):
            return INHERITED
    elif kind not in LINEAR and kind not in CONTAINERS and read_activation(layer) is None:
        return REFUSED.get(kind, NO_RULE)
    if is_tampered(layer):
        return HOOKED
    reading = LINEAR.get(kind) or ACTIVATIONS.get(kind)
    return next((refusal for refusal in reading.refusals if refusal.wrong(layer)), None) if reading else None


def check_tensors(layer: nn.Module, name: str, *, values: bool = True) -> None:
    """Raise InvalidInput for parameters and buffers that are not real; values: or that are not finite."""
    own = not isinstance(layer, Designed)  # what is inside of those is checked when it is read
    tensors = dict([*layer.named_parameters(recurse=own), *layer.named_buffers(recurse=own)])
    if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.ConvTranspose2d):
        tensors = {"weight": layer.weight} | ({} if layer.bias is None else {"bias": layer.bias})
    if isinstance(layer, nn.Linear) and layer.weight.shape != (layer.out_features, layer.in_features):
        check_width(name, layer.in_features, layer.weight.shape[-1])
    for which, parameter in tensors.items():
        if which in ("num_batches_tracked", "index"):
            continue
        if parameter.is_meta:
            why = "a network built without memory", 'net.to_empty(device="cpu"), then load its weights'
            raise InvalidInput(f"parameters with values in {name}", f"`{which}` on the device meta", *why)
        if not parameter.is_floating_point() or not parameter.numel():
            why = "a layer without units, or a complex one", "give it units and real weights"
            raise InvalidInput(f"real parameters in {name}", f"{[*parameter.shape]} of {parameter.dtype}", *why)
        if not values:
            continue
        # A threshold may be infinite, which clips nothing.
        finite = isinstance(layer, Designed | nn.PReLU) or type(layer) in LINEAR
        fine = parameter.isfinite() if finite else ~parameter.isnan()
        if (fine & (parameter >= 0) if which == "running_var" else fine).all():
            continue
        broken = int((~fine).sum())
        got = f"{broken} NaN or infinite values in `{which}`" if broken else "a variance below 0"
        raise InvalidInput(f"finite parameters in {name}", got, "training that diverged", "load an earlier checkpoint")
