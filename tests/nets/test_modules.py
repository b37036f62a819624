"""Networks with a forward method of their own are read by the operations that it computes, and left as they were."""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensor
from torch.nn.utils import parametrizations
from torch.utils._python_dispatch import TorchDispatchMode
from written import own, randomised

import lliptools as ll

F = nn.functional


class Block(nn.Module):
    """As in a ResNet: two normalised convolutions, and a projection where the shape changes."""

    def __init__(self, before, after, stride):
        super().__init__()
        self.one = nn.Sequential(nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after))
        self.two = nn.Sequential(nn.Conv2d(after, after, 3, 1, 1, bias=False), nn.BatchNorm2d(after))
        same = before == after and stride == 1
        self.over = (
            nn.Sequential() if same else nn.Sequential(nn.Conv2d(before, after, 1, stride), nn.BatchNorm2d(after))
        )

    def forward(self, x):
        out = self.two(F.relu(self.one(x), inplace=True))
        out += self.over(x)
        return F.relu(out)


class ResNet(nn.Module):
    def __init__(self, width=4, blocks=((1, 1), (2, 2))):
        super().__init__()
        self.calls = 0
        self.start = nn.Conv2d(3, width, 3, padding=1)
        widths = [width, *(width * factor for factor, _ in blocks)]
        self.body = nn.Sequential(
            *(Block(a, b, stride) for a, b, (_, stride) in zip(widths[:-1], widths[1:], blocks, strict=True))
        )
        self.head = nn.Linear(widths[-1], 5)

    def forward(self, x):
        h = self.body(F.relu(self.start(x)))
        return self.head(F.adaptive_avg_pool2d(h, 1).view(x.size(0), -1))


def layers(kind=nn.Linear):
    return {"a": kind(4, 4), "b": kind(4, 3)}


@torch.no_grad()
def old_weight_norm():
    with pytest.warns(FutureWarning):
        layer = torch.nn.utils.weight_norm(nn.Linear(4, 4))
    return nn.Sequential(layer, nn.ReLU(), nn.Linear(4, 3)).eval()


MEAN, STD = torch.tensor([0.4, 0.5, 0.6]).view(3, 1, 1), torch.tensor([0.2, 0.25, 0.3]).view(3, 1, 1)
READ = {
    "own forward": lambda: own(lambda m, x: m.b(F.relu(m.a(x))), **layers()),
    "a subclass of Sequential": lambda: type("Sub", (nn.Sequential,), {})(nn.Linear(4, 4), nn.ReLU()),
    "spectral norm": lambda: nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(4, 4)), nn.ReLU(),
        parametrizations.weight_norm(nn.Linear(4, 3))).eval(),
    "orthogonal": lambda: nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 3)),
    "the older weight norm": old_weight_norm,
    "in float32": lambda: own(lambda m, x: m.b(m.a(x.float() * 2).relu()), **layers()).float(),
    "one point at a time": lambda: own(lambda m, x: m.b(m.a(x.view(x.shape[0], 2, 2).flatten(1)).relu()), **layers()),
    "a layer of one's own": lambda: nn.Sequential(
        nn.Linear(4, 4), own(lambda m, x: (2 * m.a(x)).relu(), a=nn.Linear(4, 4)), ll.layers.SLLLinear(4, 6)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(4, 4), own(lambda m, x: x - x.mean(1, keepdim=True)))),
    "in a residual": lambda: nn.Sequential(ll.nets.Residual(own(lambda m, x: m.a(x).relu() / 3, a=nn.Linear(4, 4)))),
}  # fmt: skip
IMAGES = {
    "resnet": lambda: randomised(ResNet()),
    "normalised images": lambda: nn.Sequential(
        own(lambda m, x: (x - m.mean) / m.std, mean=MEAN, std=STD),
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(256, 5)),
    "channels last": lambda: own(
        lambda m, x: m.b(m.a(x.permute(0, 2, 3, 1)).relu().flatten(1)), a=nn.Linear(3, 4), b=nn.Linear(256, 5)),
    "padded shortcut": lambda: own(
        lambda m, x: m.b((m.a(x) + F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 1, 0))).relu().flatten(1)),
        a=nn.Conv2d(3, 4, 3, 2, 1), b=nn.Linear(64, 5)),
    "dense": lambda: own(
        lambda m, x: m.b(
            torch.cat([x, m.a(x).relu(), x.mean((2, 3), keepdim=True).expand(-1, -1, 8, 8)], 1).flatten(1)),
        a=nn.Conv2d(3, 2, 3, padding=1), b=nn.Linear(512, 5)),
    "shuffled": lambda: own(
        lambda m, x: F.channel_shuffle(F.interpolate(m.a(x), scale_factor=2), 2).relu().mean((2, 3)),
        a=nn.Conv2d(3, 4, 3)),
}  # fmt: skip
BY_ALL = ("in float32", "spectral norm", "a layer of one's own", "resnet")  # each bound reads its network anew


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if n > 1 else []) for n, name in enumerate((*READ, *IMAGES))]
)
def test_what_is_read_is_what_the_network_does(name):
    torch.manual_seed(0)
    dtype = torch.float64 if len(name) % 3 and name != "in float32" else torch.float32
    net = (READ | IMAGES)[name]().to(dtype)
    x = torch.rand(2, *((3, 8, 8) if name in IMAGES else (4,)), dtype=dtype)
    blocks = ll.bounds.local.read(net, x)
    wanted = net(x).double() if name == "in float32" else net.double()(x.double())
    near = 1e-5 if name == "in float32" else 1e-9
    torch.testing.assert_close(ll.nets.forward(blocks, x.double().flatten(1)), wanted, rtol=near, atol=near)
    net.to(dtype)
    lower = ll.sampled_bound(net, x, 0.1, samples=8, steps=1).value
    for bound in (ll.local_bound, ll.global_bound, ll.merged_bound) if name in BY_ALL else (ll.local_bound,):
        found = bound(net, x, 0.1).value
        assert (lower <= found).all()
        assert found.isfinite().all()
    if name in BY_ALL:
        assert ll.certify(net, x, wanted.argmax(1), 1e-6).holds.all()


class Absolute(ll.nets.Activation):
    """|z|, by a rule that torch.export cannot see."""

    def forward(self, z):
        return torch.where(z >= 0, z, -z)

    def image(self, lower, upper):
        return torch.maximum(lower, -upper).relu(), torch.maximum(-lower, upper)

    def slopes(self, lower, upper):
        return torch.where(lower >= 0, 1.0, -1.0), torch.where(upper <= 0, -1.0, 1.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_layers_of_this_library_keep_what_they_guarantee(dtype):
    parts = {"a": ll.layers.SLLLinear(4, 8), "b": Absolute(), "c": ll.nets.MaxMin()}
    net = own(lambda m, x: m.c(m.a(m.b(m.a(x)))), **parts).to(dtype)
    before = list(net.modules())
    x = torch.rand(2, 4, dtype=dtype)
    assert (ll.global_bound(net, x).value <= 1 + 1e-6).all()
    assert [*net.modules()] == before
    assert net.a.weight.dtype == dtype
    plain = nn.Sequential(net.a, net.b, net.a, net.c)
    torch.testing.assert_close(ll.local_bound(net, x, 0.1).value, ll.local_bound(plain, x, 0.1).value)


def test_reading_leaves_a_network_as_it_was():
    net = randomised(ResNet())
    passes, x = [], torch.rand(1, 3, 8, 8)
    net.head.weight.grad = torch.ones_like(net.head.weight)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    attributes = {module: dict(vars(module)) for module in net.modules()}
    stream = torch.get_rng_state()
    net.forward = lambda x: passes.append(len(x)) or ResNet.forward(net, x)
    blocks = ll.bounds.local.read(net, x)
    del net.forward
    assert len(passes) <= 3
    assert torch.equal(torch.get_rng_state(), stream)
    assert (net.head.weight.grad == 1).all()
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert all(vars(module) == kept for module, kept in attributes.items())
    with torch.no_grad():
        net.head.weight.zero_()
    assert ll.nets.forward(blocks, torch.rand(1, 192).double()).std() > 0  # what was read is a copy


class Products(TorchDispatchMode):
    """Counts the multiplications of convolutions that are really done."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if "convolution" in str(function) and not isinstance(args[0], FakeTensor):
            back = "backward" in str(function)
            self.count += args[0].numel() * args[2][0].numel() if back else found.numel() * args[1][0].numel()
        return found


def test_a_resnet_is_read_in_few_forward_passes():
    net, x = randomised(ResNet(16, ((1, 1), (2, 2), (2, 2)))), torch.rand(1, 3, 32, 32)
    with Products() as one, torch.no_grad():
        net(x)
    with Products() as all_of_it:
        ll.bounds.local.read(net, x)
    assert all_of_it.count <= 60 * one.count


def test_an_attribute_that_forward_sets_is_set_back():
    def forward(m, x):
        m.last = x
        return m.a(x)

    net = own(forward, a=nn.Linear(4, 4))
    ll.local_bound(net, torch.rand(1, 4), 0.1)
    assert not torch._is_functional_tensor(getattr(net, "last", torch.zeros(1)))
    assert type(getattr(net, "last", torch.zeros(1))) is torch.Tensor


def test_training_mode_that_changes_nothing_is_read():
    net = own(lambda m, x: m.a(x), a=nn.Linear(4, 4)).train()
    assert ll.local_bound(net, torch.rand(1, 4), 0.1).value.isfinite()
    assert net.training


@pytest.mark.parametrize("mode", [torch.inference_mode(), torch.device("meta"), torch.enable_grad()])
def test_modules_are_read_in_any_mode(mode):
    net = own(lambda m, x: torch.cat([m.a(x).relu(), x[:, ::2]], 1) + m.b(x)[:, :1], **layers())
    x = torch.rand(2, 4)
    wanted = ll.local_bound(net, x, 0.1).value
    with mode:
        assert torch.equal(ll.local_bound(net, x, 0.1).value, wanted)


@pytest.mark.parametrize("end", ["softmax", "log_softmax"])
def test_a_softmax_at_the_end_is_left_out_on_request(end):
    net, x = own(lambda m, x: getattr(m.b(m.a(x).relu()), end)(-1), **layers()).double(), torch.rand(2, 4).double()
    plain = ll.nets.without_softmax(net, x)
    torch.testing.assert_close(getattr(plain(x), end)(1), net(x), rtol=1e-12, atol=1e-12)
    layered = nn.Sequential(net.a, nn.ReLU(), nn.Sequential(net.b, nn.Softmax(dim=1)))
    torch.testing.assert_close(ll.nets.without_softmax(layered, x)(x), plain(x), rtol=1e-12, atol=1e-12)
    with pytest.raises(ll.InvalidInput, match=r"got \[Linear"):
        ll.nets.without_softmax(plain, x)


def test_networks_that_were_built_in_inference_mode_are_read():
    with torch.inference_mode():
        net, x = own(lambda m, x: m.b(m.a(x).relu()) / 2, **layers()).double(), torch.rand(2, 4).double()
    for part in (net, nn.Sequential(net.a, nn.ReLU(), net.b)):
        found = ll.local_bound(part, x, 0.1).value
        assert (ll.sampled_bound(part, x, 0.1, samples=8, steps=1).value <= found).all()


@pytest.mark.parametrize("change", ["in place", "data", "state", "step"])
def test_changed_weights_are_read_anew(change):
    net, x = own(lambda m, x: m.b(m.a(x).relu()), **layers()).double(), torch.rand(2, 4).double()
    before = ll.local_bound(net, x, 0.1).value
    if change == "in place":
        with torch.no_grad():
            net.b.weight.mul_(2)
    elif change == "data":
        net.b.weight.data.mul_(2)
    elif change == "state":
        net.load_state_dict({**net.state_dict(), "b.weight": 2 * net.b.weight})
    else:
        net.b.weight.grad = -net.b.weight.detach().clone()
        torch.optim.SGD([net.b.weight], lr=1.0).step()
    torch.testing.assert_close(ll.local_bound(net, x, 0.1).value, 2 * before)
