"""Every rule against torch's own function: at bends, thresholds and far out, in exact arithmetic, both precisions."""

import copy
import math
from itertools import pairwise

import mpmath
import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import ClippedReLU
from lliptools.nets.registry import SELU, read_activation


def changed(layer, **attributes):
    """The layer with attributes that were set after it was built."""
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


LAYERS = {
    "relu": nn.ReLU(),
    "relu in place": nn.ReLU(inplace=True),
    "relu6": nn.ReLU6(),
    "relu6, changed": changed(nn.ReLU6(), max_val=9.0, min_val=-0.5),
    "hard": nn.Hardtanh(-0.3, 1.7),
    "hard, changed": changed(nn.Hardtanh(), min_val=0.25, inplace=True),
    "leaky": nn.LeakyReLU(0.3),
    "steep leaky": nn.LeakyReLU(1.7),
    "leaky, changed": changed(nn.LeakyReLU(), negative_slope=0.7, inplace=True),
    "leaky of 0": nn.LeakyReLU(0.0),
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "softplus": nn.Softplus(),
    "softplus, no jump": nn.Softplus(threshold=40),
    "softplus, small beta": nn.Softplus(1e-6, 20.0),
    "softplus, large beta": nn.Softplus(1e6, 50.0),
    "softplus, changed": changed(nn.Softplus(), beta=3.0, threshold=30.0),
    "elu": nn.ELU(0.3),
    "steep elu": nn.ELU(1.5),
    "elu, changed": changed(nn.ELU(), alpha=1e-310, inplace=True),
    "selu": nn.SELU(),
    "softsign": nn.Softsign(),
    "prelu": changed(nn.PReLU(), weight=nn.Parameter(torch.tensor([0.1], dtype=torch.float64), False)),
    "prelu of 0": changed(nn.PReLU(), weight=nn.Parameter(torch.zeros(1, dtype=torch.float64), False)),
    "falling prelu": changed(nn.PReLU(), weight=nn.Parameter(torch.tensor([-1.3], dtype=torch.float64), False)),
    "absolute": ll.nets.Absolute(),
    "gelu": nn.GELU(),
    "gelu by tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "mish": nn.Mish(),
    "hardswish": nn.Hardswish(),
    "clipped": ClippedReLU(0.7, learnable=False),
    "clipped at 0": ClippedReLU(-0.5, learnable=False),
}
BENDS = (
    *(0.0, -1.4142135623730951, -2.3993572805154, -2.2563763963607, -1.2784645427610, 3.0, -3.0),
    6.0,
    9.0,
    -0.5,
    -0.3,
    1.7,
    0.25,
    1.0,
    -1.0,
    0.7,
    20.0,
    40.0,
    20.0 / 1e-6,
    50.0 / 1e6,
    10.0,
)
FAR = (1e-320, 1e-300, 1e-30, 1e-3, 0.4, 2.5, 19.0, 37.0, 88.0, 104.0, 350.0, 709.0, 712.0, 750.0, 1e4, 1e30, 1e300)


def number(value, dtype):
    """A parameter of a layer as its kernel takes it."""
    return mpmath.mpf(torch.as_tensor(value, dtype=dtype).item())


GATED = {
    nn.SiLU: lambda _, z: z / (1 + mpmath.exp(-z)),
    nn.Mish: lambda _, z: z * mpmath.tanh(mpmath.log1p(mpmath.exp(min(z, 10**4)))),
    nn.Hardswish: lambda _, z: z * min(max(z + 3, mpmath.mpf(0)), mpmath.mpf(6)) / 6,
    nn.GELU: lambda layer, z: (
        z / 2 * mpmath.erfc(-max(min(z, 10**4), -(10**4)) / mpmath.sqrt(2))
        if layer.approximate == "none"
        else z / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (z + mpmath.mpf("0.044715") * z**3)))
    ),
}


def truth(layer, z, dtype):
    """What torch's layer computes at z, in exact arithmetic or 60 digits: mpf -> mpf."""
    if isinstance(layer, nn.ReLU):
        return max(z, mpmath.mpf(0))
    if isinstance(layer, nn.Hardtanh):
        return min(max(z, number(layer.min_val, dtype)), number(layer.max_val, dtype))
    if isinstance(layer, ClippedReLU):
        return min(max(z, mpmath.mpf(0)), max(number(layer.theta, dtype), mpmath.mpf(0)))
    if isinstance(layer, nn.LeakyReLU):
        return z if z > 0 else z * number(layer.negative_slope, dtype)
    if isinstance(layer, nn.Tanh):
        return mpmath.tanh(z)
    if isinstance(layer, nn.Sigmoid):
        return 1 / (1 + mpmath.exp(-z))
    if isinstance(layer, nn.Softplus):
        beta, threshold = number(layer.beta, dtype), number(layer.threshold, dtype)
        smooth = threshold >= 34  # then the jump is less than rounding
        return z if beta * z > threshold and not smooth else mpmath.log1p(mpmath.exp(beta * z)) / beta
    if isinstance(layer, nn.SELU):
        return SELU[1] * (z if z > 0 else SELU[0] * mpmath.expm1(z))
    if isinstance(layer, nn.Softsign):
        return z / (1 + abs(z))
    if isinstance(layer, nn.PReLU):
        return z if z > 0 else z * number(layer.weight, dtype)
    if isinstance(layer, ll.nets.Absolute):
        return abs(z)
    if type(layer) in GATED:
        return GATED[type(layer)](layer, z)
    assert isinstance(layer, nn.ELU)
    return z if z > 0 else number(layer.alpha, dtype) * mpmath.expm1(z)


def as_torch(layer, z):
    """The layer at z, in the precision of z."""
    return copy.deepcopy(layer).to(z.dtype)(z.clone())


def places(dtype):
    """Bends with the numbers beside them, and numbers of every size: ascending."""
    bends = torch.tensor(BENDS, dtype=torch.float64).to(dtype)
    up, down = torch.full_like(bends, torch.inf), torch.full_like(bends, -torch.inf)
    far = torch.tensor(FAR, dtype=torch.float64).to(dtype)
    beside = [bends, bends.nextafter(up), bends.nextafter(down), bends.nextafter(up).nextafter(up), bends * 1.01]
    every = torch.cat([*beside, far, -far, torch.randn(12, dtype=torch.float64).to(dtype)])
    return every[every.isfinite()].unique()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", LAYERS)
def test_the_rule_computes_what_torch_computes(name, dtype):
    layer, z = LAYERS[name], torch.cat([places(dtype), torch.tensor([torch.inf, -torch.inf, torch.nan], dtype=dtype)])
    wanted, found = as_torch(layer, z), read_activation(layer)(z)
    if name in ("leaky of 0", "prelu of 0"):  # torch's own is NaN at −inf
        wanted[z == -torch.inf] = 0.0
    if name == "softsign":  # and this one at both ends
        wanted[z.isinf()] = z[z.isinf()].sign()
    torch.testing.assert_close(found, wanted, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", LAYERS)
def test_images_and_slopes_hold_in_exact_arithmetic(name, dtype):
    layer, act, z = LAYERS[name], read_activation(LAYERS[name]), places(dtype)
    with mpmath.workdps(400 if dtype == torch.float64 else 60):
        exact = [mpmath.mpf(value) for value in z.tolist()]
        values = [truth(layer, value, dtype) for value in exact]
        computed = as_torch(layer, z).tolist()
        chosen = torch.randint(len(z), (150, 2)).sort(dim=1).values.tolist()
        chosen += [[k, k] for k in range(len(z))] + [[k, k + 1] for k in range(len(z) - 1)]
        boxes = [[torch.stack([z[pair[side]] for pair in chosen])[:, None] for side in (0, 1)]]
        (low, high), (least, greatest) = act.image(*boxes[0]), act.slopes(*boxes[0])
        for (first, last), *ends in zip(chosen, low, high, least, greatest, strict=True):
            bottom, top, flattest, steepest = (end.item() for end in ends)
            inside = {first, last, (first + last) // 2, *torch.randint(first, last + 1, (3,)).tolist()}
            for k in inside:
                assert bottom <= computed[k] <= top, (name, exact[first], exact[last], exact[k])
                assert bottom <= values[k] <= top, (name, exact[first], exact[last], exact[k])
            for one, other in pairwise(sorted(inside)):
                step, rise = exact[other] - exact[one], values[other] - values[one]
                assert not rise > steepest * step, (name, exact[one], exact[other], steepest)
                assert flattest == -math.inf or not rise < flattest * step, (name, exact[one], exact[other], flattest)


@pytest.mark.parametrize("name", LAYERS)
def test_an_end_that_is_not_a_number_tells_nothing(name):
    act = read_activation(LAYERS[name])
    nan, inf, three = (torch.full((1, 1), value, dtype=torch.float64) for value in (torch.nan, torch.inf, 3.0))
    for ends, known in (((nan, nan), (-inf, inf)), ((-three, nan), (-three, inf)), ((nan, three), (-inf, three))):
        (least, greatest), (flattest, steepest) = act.slopes(*ends), act.slopes(*known)
        assert least <= flattest
        assert greatest >= steepest


def test_where_softplus_jumps():
    act, z = read_activation(nn.Softplus()), torch.tensor([[19.0, 21.0, 22.0]]).double()
    least, greatest = act.slopes(z[:, :2], z[:, 1:])
    assert least.tolist() == [[-torch.inf, 1.0]]
    assert (greatest <= 1).all()
    assert act.slope(z[:, :1], z[:, 1:2]).isinf()
    assert not read_activation(nn.Softplus(threshold=33)).is_smooth
    assert read_activation(nn.Softplus(threshold=34)).is_smooth


def jump(beta, threshold, step):
    """Two points beside the threshold, and a network whose class changes between them."""
    layer = nn.Softplus(beta, threshold)
    x = torch.tensor([[threshold / beta - step], [threshold / beta + step]], dtype=torch.float64)
    net = nn.Sequential(layer, nn.Linear(1, 2)).double()
    net[1].weight.data = torch.tensor([[1.0], [0.0]], dtype=torch.float64)
    net[1].bias.data = torch.stack([torch.zeros(()).double(), layer(x).mean()])
    assert net(x).argmax(dim=1).tolist() == [0, 1]
    return net, x


@pytest.mark.parametrize(("beta", "step"), [(1.0, 5e-11), (1e-6, 5e-5)])
def test_no_certificate_across_the_jump_of_softplus(beta, step):
    net, x = jump(beta, 20.0, step)
    for name in ("global", "local", "path", "merged", "tightest"):
        for outward in (True, False):
            assert not ll.certify(net, x[:1], torch.tensor([0]), 3 * step, ll.BOUNDS[name], outward=outward).holds
        assert ll.BOUNDS[name](net, x, 3 * step).value.isinf().all()
    assert not ll.certify_in_stages(net, x[:1], torch.tensor([0]), 3 * step).holds
    assert ll.certified_radius(net, x[:1], torch.tensor([0])) < 2 * step
    away = torch.full_like(x, 30 / beta)  # beyond the jump the layer is the identity
    assert ll.local_bound(net, away, 1.0).value.tolist() == pytest.approx([1.0, 1.0], rel=1e-12)
    assert ll.global_bound(net, x).value.isinf().all()


METHODS = [*ll.bounds.METHODS]


@pytest.mark.parametrize("method", METHODS)
def test_no_norm_reads_an_infinite_slope_as_nothing(method):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Softplus(), nn.Linear(5, 4)).double()
    net[2].weight.data[0] = 0.0
    found = ll.local_bound(net, torch.zeros(2, 3).double(), torch.tensor([1e3, 0.1]), norm=ll.bounds.METHODS[method])
    assert found.value[0].isinf()
    assert found.value[1].isfinite()
    assert "inf" in str(ll.local_bound(net, torch.zeros(1, 3).double(), 1e3, norm=ll.bounds.METHODS[method]))


def test_a_layer_that_needs_slopes_says_how_to_have_no_jump():
    with pytest.raises(ll.UnsupportedLayer, match=r"a jump\. Next step: use torch.nn.Softplus\(threshold=40\)"):
        ll.layers.SLLLinear(3, 4, nn.Softplus())
    layer = ll.layers.SLLLinear(3, 4, nn.Softplus(threshold=40))
    assert layer.lipschitz_bound() == 1
    layer.activation.threshold = 20.0
    with pytest.raises(ll.UnsupportedLayer, match="a jump"):
        layer.lipschitz_bound()


def test_attributes_that_were_changed_are_read():
    net = nn.Sequential(changed(nn.ReLU6(), max_val=9.0), nn.Linear(1, 2)).double()
    net[1].weight.data, net[1].bias.data = torch.tensor([[1.0], [0.0]]).double(), torch.tensor([0.0, 7.5]).double()
    x = torch.tensor([[7.0]]).double()
    assert not ll.certify(net, x, torch.tensor([1]), 1.0).holds
    assert ll.local_bound(net, x, 1.0).value.item() == 1.0


def test_a_method_that_was_replaced_on_the_object():
    act = ClippedReLU(1.0)
    act.thresholds = lambda z: (0.0, 0.0)
    with pytest.raises(ll.UnsupportedLayer):
        ll.local_bound(nn.Sequential(act, nn.Linear(1, 2)), torch.zeros(1, 1), 1.0)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Softplus(threshold=710),  # torch's own is inf before it
        nn.Softplus(threshold=19),
        nn.Softplus(threshold=math.nan),
        changed(nn.ReLU6(), max_val=math.nan),
        changed(nn.ReLU6(), min_val=6.0),
    ],
    ids=str,
)
def test_numbers_for_which_there_is_no_rule(layer):
    with pytest.raises(ll.UnsupportedLayer):
        ll.local_bound(nn.Sequential(nn.Linear(1, 1), layer), torch.zeros(1, 1), 1.0)
