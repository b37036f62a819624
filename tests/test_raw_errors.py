"""What torch or Python would raise of itself is said in the library's own words: what was expected, and what to do."""

from functools import partial
from threading import Thread

import pytest
import torch
from torch import nn

import lliptools as ll

NET = ll.nets.mlp(2, 4, 2).double()
X, Y = torch.zeros(3, 2).double(), torch.zeros(3, dtype=torch.int64)
IMAGES = torch.rand(2, 2, 4, 4).double()
OPTIONS = [
    (partial(ll.certify, NET, X, Y, 0.1), "centred linear quadratic outward shells bound"),
    (partial(ll.certified_radius, NET, X, Y), "centred linear shells tolerance bound"),
    (partial(ll.certified_accuracy, NET, X, Y, 0.1), "centred linear shells progress bound"),
    (partial(ll.certify_in_stages, NET, X, Y, 0.1), "centred tolerance"),
    (partial(ll.linear_margins, NET, X, Y, 0.1), "steps domain"),
    (partial(ll.local_bound, NET, X, 0.1), "centred differentiable norm domain"),
    (partial(ll.global_bound, NET, X, 0.1), "differentiable norm"),
    (partial(ll.merged_bound, NET, X, 0.1), "centred steps"),
    (partial(ll.tightest_bound, NET, X, 0.1), "centred steps"),
    (partial(ll.exact_bound, NET, X, 0.1), "centred max_cells max_patterns"),
    (partial(ll.sampled_bound, NET, X, 0.1), "centred samples steps seed"),
    (partial(ll.attacks.pgd, NET, X, Y, 0.1), "steps restarts"),
    (partial(ll.spectral_norm, NET[0]), "method steps input_shape"),
]


@pytest.mark.parametrize("value", ["a", 2.5, [1], torch.tensor([True, False])], ids=str)
@pytest.mark.parametrize(("call", "name"), [(call, name) for call, names in OPTIONS for name in names.split()])
def test_options_of_another_type(call, name, value):
    with pytest.raises(ll.InvalidInput, match=r"expected .* got .* Likely cause: .* Next step: "):
        call(**{name: value})


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_beyond_63_bits(seed):
    with pytest.raises(ll.InvalidInput, match="seed"):
        ll.sampled_bound(NET, X, 0.1, seed=seed)


def changed(layer, **options):
    for name, value in options.items():
        setattr(layer, name, value)
    return layer.double().eval()


CONVOLUTION = partial(nn.Conv2d, 2, 2, 3)
MISMADE = {
    "stride 0": changed(CONVOLUTION(), stride=(0, 0)),
    "stride as text": changed(CONVOLUTION(), stride="a"),
    "one stride of two": changed(CONVOLUTION(), stride=(1,)),
    "padding 9.5": changed(CONVOLUTION(), padding=9.5),
    "padding as text": changed(CONVOLUTION(), padding="nothing"),
    "dilation 0": changed(CONVOLUTION(), dilation=(0, 0)),
    "groups 1.0": changed(CONVOLUTION(), groups=1.0),
    "groups 3": changed(CONVOLUTION(), groups=3),
    "a kernel of no pixel": changed(CONVOLUTION(), weight=nn.Parameter(torch.rand(2, 2, 0, 3))),
    "a bias of another layer": changed(CONVOLUTION(), bias=nn.Parameter(torch.rand(3))),
    "a window of no pixel": changed(nn.AvgPool2d(2), kernel_size=0),
    "a window as text": changed(nn.MaxPool2d(2), kernel_size="a"),
    "no step": changed(nn.AvgPool2d(2), stride=(0, 0)),
    "a divisor as text": changed(nn.AvgPool2d(2), divisor_override="a"),
    "no outputs": changed(nn.AdaptiveAvgPool2d(2), output_size=0),
    "a padding as text": changed(nn.ZeroPad2d(1), padding="a"),
    "a scale as text": changed(nn.Upsample(scale_factor=2), scale_factor="a"),
    "a shape as text": changed(nn.Unflatten(1, (1, 2)), unflattened_size="a"),
    "half of the statistics": changed(nn.BatchNorm2d(2), running_var=None),
    "eps as text": changed(nn.BatchNorm2d(2), eps="a"),
    "a slope as text": changed(nn.LeakyReLU(), negative_slope="a"),
    "two slopes": changed(nn.LeakyReLU(), negative_slope=torch.tensor([0.1, 0.2])),
    "no threshold": changed(nn.Hardtanh(), min_val=None),
    "beta as text": changed(nn.Softplus(threshold=40), beta="a"),
    "no weight": changed(nn.PReLU(2), weight=None),
    "not made yet": nn.LazyConv2d(2, 3),
    "sparse": changed(nn.Linear(4, 2), weight=nn.Parameter(torch.rand(2, 4).to_sparse())),
    "float8": changed(nn.Linear(4, 2), weight=nn.Parameter(torch.rand(2, 4).to(torch.float8_e4m3fn), False)),
}
MISMADE["float8"].weight.data = MISMADE["float8"].weight.data.to(torch.float8_e4m3fn)


@pytest.mark.parametrize("what", MISMADE)
def test_layers_that_torch_would_not_make(what):
    """Refused in the library's words, by the norm of the layer too."""
    layer = MISMADE[what]
    for call in (
        lambda: ll.local_bound(nn.Sequential(layer, nn.Flatten()), IMAGES, 0.1),
        lambda: ll.spectral_norm(layer, input_shape=(2, 4, 4)),
    ):
        with pytest.raises(
            (ll.InvalidInput, ll.UnsupportedLayer), match=r"Likely cause: .* Next step: |Next step: .* Expected"
        ):
            call()


def test_the_layer_is_named():
    net = nn.Sequential(nn.Identity(), MISMADE["stride 0"])
    with pytest.raises(ll.InvalidInput, match=r"options of layer 1 \(Conv2d\).*ZeroDivisionError.*build it anew"):
        ll.local_bound(net, IMAGES, 0.1)


@pytest.mark.parametrize(
    "y", [torch.nested.nested_tensor([torch.tensor([0])], layout=torch.jagged), Y.to("meta")], ids=["nested", "meta"]
)
def test_labels_of_another_kind(y):
    with pytest.raises(ll.InvalidInput, match="y as an integer tensor"):
        ll.certify(NET, X, y, 0.1)


def test_a_nested_radius():
    with pytest.raises(ll.InvalidInput, match="eps as a number"):
        ll.certify(NET, X, Y, torch.nested.nested_tensor([torch.tensor([0.1])], layout=torch.jagged))


class Own(nn.Module):
    """With a forward method that has to be followed."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.first(x).relu())


def test_a_forward_method_is_read_under_autocast():
    net = Own()
    expected = ll.local_bound(net, X.float(), 0.1).value
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(ll.local_bound(net, X.float(), 0.1).value, expected)


def test_several_threads_read_one_module():
    net, found = Own(), []
    threads = [Thread(target=lambda: found.append(ll.local_bound(net, X.float(), 0.1).value)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(torch.equal(value, found[0]) for value in found)
    assert {(each.dtype, each.device.type) for each in net.parameters()} == {(torch.float32, "cpu")}


def test_accuracy_with_linear_bounds_in_inference_mode():
    expected = ll.certified_accuracy(NET, X + 1, Y, 0.1, linear=True)
    with torch.inference_mode():
        assert ll.certified_accuracy(NET, X + 1, Y, 0.1, linear=True) == expected


JUNK = [None, "a", 2.5, [], {}, object(), torch.empty(0), torch.tensor(torch.nan), lambda *given: None, nn.ReLU(), True]
JUNK += [max, lambda net: net, 2**70, [(X,)], [{"x": X}], torch.zeros(3, 2, dtype=torch.int64)]
IN_PLACE = {
    "certify": (ll.certify, NET, X, Y, 0.1, ll.local_bound),
    "radius": (ll.certified_radius, NET, X, Y, ll.local_bound),
    "accuracy": (ll.certified_accuracy, NET, X, Y, 0.1, ll.local_bound),
    "accuracy of a loader": (ll.certified_accuracy, NET, [(X, Y)], 0.1),
    "stages": (ll.certify_in_stages, NET, X, Y, 0.1),
    "linear": (ll.linear_margins, NET, X, Y, 0.1),
    "local": (ll.local_bound, NET, X, 0.1),
    "merged": (ll.merged_bound, NET, X, 0.1),
    "exact": (ll.exact_bound, NET, X, 0.1),
    "distance": (ll.bounds.adversarial_distance, NET, X, Y, 0.1),
    "sampled": (ll.sampled_bound, NET, X, 0.1),
    "spectral norm": (ll.spectral_norm, NET[0]),
    "attack": (ll.attacks.pgd, NET, X, Y, 0.1),
    "pairs": (ll.local_bound(NET, X, 0.1).pairwise, Y),
    "a norm": (lambda norm: ll.local_bound(NET, X, 0.1, norm=norm), ll.bounds.exact_norm),
    "a domain": (lambda domain: ll.local_bound(NET, X, 0.1, domain=domain), ll.domains.Ball),
    "a chance": (ll.bounds.AposterioriNorm, 1e-9, 1e-3, 50),
    "without softmax": (ll.nets.without_softmax, nn.Sequential(nn.Linear(2, 2), nn.Softmax(1)), X.float()),
    "mlp": (ll.nets.mlp, 2, 3, 4),
    "cnn": (ll.nets.cnn, "2C1F", (1, 8, 8)),
    "load": (ll.nets.load, "digits-relu"),
    "a threshold": (ll.nets.ClippedReLU, 1.0),
    "slack": (ll.layers.condition.slack, torch.eye(2), torch.ones(2)),
    "kernel norm": (ll.layers.kernel_norm, torch.rand(2, 2, 3, 3), (1, 1)),
}


@pytest.mark.parametrize("what", IN_PLACE)
def test_anything_in_the_place_of_an_argument(what):
    """A number where it means one, or an error of the library: any other error fails here."""
    call, *arguments = IN_PLACE[what]
    for place in range(len(arguments)):
        refused = 0
        for other in JUNK:
            try:
                call(*arguments[:place], other, *arguments[place + 1 :])
            except (ll.InvalidInput, ll.UnsupportedLayer):
                refused += 1
        assert refused > len(JUNK) / 2
