"""Programs of torch.export are read as the layers that do the same."""

import pytest
import torch
from torch import nn
from torch.export import Dim, ExportedProgram, export
from written import THETA, pairs, program

import lliptools as ll
from lliptools.nets import ClippedMaxMin, ClippedReLU, MaxMin, Residual, read_program

F = nn.functional


def names(net):
    return [type(layer).__name__ for layer in net]


READABLE = {
    "own forward": (
        lambda m, x: m.b(F.relu(m.a(x.view(x.shape[0], -1)))), (2, 3), {"a": nn.Linear(6, 4), "b": nn.Linear(4, 3)},
        ["Flatten", "Linear", "ReLU", "Linear"]),
    "image": (
        lambda m, x: m.d(m.c(F.hardtanh(m.b(m.a(x)), 0, 6)).mean((-2, -1))), (2, 9, 8),
        {"a": nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1, groups=2, bias=False), "b": nn.BatchNorm2d(4),
         "c": nn.AvgPool2d(2, padding=1), "d": nn.Linear(4, 3)},
        ["Conv2d", "BatchNorm2d", "Hardtanh", "AvgPool2d", "AdaptiveAvgPool2d", "Flatten", "Linear"]),
    "circular and transposed": (
        lambda m, x: m.b(m.a(x)).mean((2, 3), keepdim=True).reshape(x.shape[0], 3), (2, 6, 6),
        {"a": nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), "b": nn.ConvTranspose2d(3, 3, 2, 2)},
        ["CircularPad2d", "Conv2d", "ConvTranspose2d", "AdaptiveAvgPool2d", "Flatten"]),
    "one axis": (
        lambda m, x: m.b(m.a(x.unflatten(1, (2, 5)))).flatten(1), (10,),
        {"a": nn.Conv1d(2, 2, 3, padding="same", dilation=2), "b": nn.BatchNorm1d(2, affine=False)},
        ["Unflatten", "Conv1d", "BatchNorm1d", "Flatten"]),
    "padding and blocks of pixels": (
        lambda m, x: m.a(F.pixel_unshuffle(F.pad(x, (1, 0, 2, 1)), 2).flatten(1)), (1, 5, 7),
        {"a": nn.Linear(64, 2)}, ["ZeroPad2d", "PixelUnshuffle", "Flatten", "Linear"]),
    "smooth": (
        lambda m, x: F.elu(F.softplus(torch.tanh(torch.sigmoid(F.leaky_relu(m.a(x), 0.2))), 2.0), 0.5), (4,),
        {"a": nn.Linear(4, 4)}, ["Linear", "LeakyReLU", "Sigmoid", "Tanh", "Softplus", "ELU"]),
    "thresholds by clamp": (
        lambda m, x: torch.clamp(m.a(x), torch.zeros(4, dtype=x.dtype), m.theta), (4,),
        {"a": nn.Linear(4, 4), "theta": THETA}, ["Linear", "ClippedReLU"]),
    "thresholds by minimum": (
        lambda m, x: torch.minimum(m.theta, m.a(x).relu()).clamp(0, 0.7), (4,),
        {"a": nn.Linear(4, 4), "theta": THETA[None]}, ["Linear", "ClippedReLU", "Hardtanh"]),
    "from below": (
        lambda m, x: m.a(x).clamp(min=0).clamp_max(1.5).clamp_min(0), (4,),
        {"a": nn.Linear(4, 4)}, ["Linear", "Hardtanh", "ReLU"]),
    "pairs": (
        lambda m, x: pairs(m.a(x)), (4,), {"a": nn.Linear(4, 6)}, ["Linear", "MaxMin"]),
    "clipped pairs": (
        lambda m, x: pairs(m.a(x), high=m.theta[:2], low=-0.1), (4,),
        {"a": nn.Linear(4, 4), "theta": THETA}, ["Linear", "ClippedMaxMin"]),
    "pairs clipped from above": (
        lambda m, x: pairs(m.a(x), high=0.2), (4,), {"a": nn.Linear(4, 4)}, ["Linear", "ClippedMaxMin"]),
    "residual": (
        lambda m, x: m.b(m.a(x).relu()) + x, (4,), {"a": nn.Linear(4, 6), "b": nn.Linear(6, 4)}, ["Residual"]),
    "residual in the middle": (
        lambda m, x: F.dropout(m.a(x) + m.b(m.a(x).relu()), 0.5, False), (4,),
        {"a": nn.Linear(4, 6), "b": nn.Linear(6, 6)}, None),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "batch"), [(torch.float64, None), (torch.float32, 3)])
@pytest.mark.parametrize("name", [name for name, case in READABLE.items() if case[3]])
def test_read_as_layers_that_do_the_same(name, dtype, batch):
    forward, shape, parts, layers = READABLE[name]
    made = program(forward, shape, batch=batch, dtype=dtype, **parts)
    net = read_program(made)
    assert names(net) == layers
    x = torch.randn(batch or 5, *shape, dtype=dtype)
    torch.testing.assert_close(net(x), made.module()(x), rtol=1e-12 if dtype == torch.float64 else 1e-5, atol=1e-6)
    bound = ll.local_bound(net.double(), x.double(), 0.3)
    lower = ll.sampled_bound(net, x.double(), 0.3, samples=16, steps=2)
    assert (lower.value <= bound.value).all()


def test_a_value_that_is_computed_twice_is_two_branches():
    """x ↦ a(x) + b(relu(a(x))), with a called twice: one of the branches is the shortcut."""
    forward, shape, parts, _ = READABLE["residual in the middle"]
    net = read_program(program(forward, shape, **parts))
    assert names(net) == ["Residual"]
    assert names(net[0].shortcut) == ["Linear"]


def test_thresholds_and_weights_are_copies():
    made = program(*READABLE["thresholds by clamp"][:2], **READABLE["thresholds by clamp"][2])
    net = read_program(made)
    assert net[1].theta.tolist() == THETA.tolist()
    net[0].weight.data.fill_(7.0)
    assert not (made.state_dict["a.weight"] == 7.0).any()


def test_the_layers_of_this_library_come_back(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(4, 6), ClippedReLU(torch.rand(6)), nn.Linear(6, 6), MaxMin(),
        Residual(nn.Sequential(nn.Linear(6, 6))),
        ClippedMaxMin(torch.rand(3), -0.1), ll.layers.SLLLinear(6, 8), nn.Linear(6, 3), ClippedReLU(0.5),
    ).double()  # fmt: skip
    ll.export(net, (4,), to=tmp_path / "net.pt2")
    again, x = ll.nets.load(tmp_path / "net.pt2", trust=True), torch.randn(7, 4).double()
    torch.testing.assert_close(again(x), net(x), rtol=1e-13, atol=1e-13)
    spelled_out = ll.local_bound(ll.layers.export(net), x, 0.2).value
    torch.testing.assert_close(ll.local_bound(again, x, 0.2).value, spelled_out, rtol=1e-3, atol=0)


LINEAR_AND_JOINED = {
    "a factor": lambda m, x: 2 * m.a(x),
    "a shift": lambda m, x: m.a(x) + 1.0,
    "half a residual": lambda m, x: torch.add(x, m.a(x), alpha=0.5),
    "two branches": lambda m, x: m.a(x).relu() + m.a(x).tanh(),
    "a clamp from another number": lambda m, x: m.a(x).clamp(0.1),
    "a clamp from above alone": lambda m, x: m.a(x).clamp(max=1.0),
    "a clamp that is turned around": lambda m, x: m.a(x).clamp(1.0, -1.0),
    "a negative threshold": lambda m, x: torch.clamp(m.a(x), torch.zeros(4), -torch.ones(4)),
    "a cut half": lambda m, x: m.a(x).chunk(2, dim=1)[0],
    "a layer on one half": lambda m, x: m.a(x).chunk(2, dim=1)[0].relu(),
    "unequal parts": lambda m, x: torch.cat([*m.a(x).split([1, 3], dim=1)], 1),
    "the smaller ones first": lambda m, x: (lambda a, b: torch.cat([a.minimum(b), a.maximum(b)], 1))(
        *m.a(x).chunk(2, dim=1)),
    "the same half twice": lambda m, x: (lambda a, b: torch.cat([a.maximum(a), a.minimum(b)], 1))(
        *m.a(x).chunk(2, dim=1)),
    "a pair clipped from the other side": lambda m, x: (lambda a, b: torch.cat(
        [a.maximum(b).clamp(min=0.1), a.minimum(b)], 1))(*m.a(x).chunk(2, dim=1)),
    "a padding by ones": lambda m, x: F.pad(
        m.a(x).unflatten(1, (1, 2, 2)), (1, 1, 1, 1), value=1.0).flatten(1),
    "a mean over units": lambda m, x: m.a(x).mean(1, keepdim=True),
    "a reflection": lambda m, x: F.pad(m.a(x).unflatten(1, (1, 2, 2)), (1, 1, 1, 1), "reflect").flatten(1),
    "another pooling": (lambda m, x: F.max_pool1d(m.a(x)[:, None], 2).flatten(1)),
    "many axes": (lambda m, x: F.linear(m.a(x).unflatten(1, (2, 2)), m.b.weight[:, :2]).movedim(1, 2).flatten(1)),
    "a matrix in front": (lambda m, x: (m.b.weight[:3] @ x[:, :, None]).squeeze(-1)),
    "a product and a bias": (lambda m, x: torch.addmm(m.b.bias, m.a(x).relu(), m.b.weight)),
    "a product by name": (lambda m, x: torch.einsum("bi,ij->bj", m.a(x).relu(), m.b.weight)),
    "normalised inputs": (lambda m, x: m.a((x - m.b.bias) / (m.b.bias.abs() + 0.1))),
    "from one": (lambda m, x: 1 - m.a(x).relu() * m.b.bias),
    "a few units": (lambda m, x: m.a(x)[:, [2, 0, 0]].flip(1).roll(1, 1)),
    "stacked": (lambda m, x: torch.stack([m.a(x), m.b(x).relu(), x], 1)[:, :, 1:3].flatten(1)),
    "cat of branches": (lambda m, x: torch.cat([x, m.a(x).relu(), torch.ones(2, 1).type_as(x), x.new_ones(2, 1)], 1)),
    "the larger of two branches": (lambda m, x: torch.maximum(m.a(x), m.b(x).tanh())),
    "projection": (lambda m, x: (m.b(x) + m.a(m.b(x).relu())).relu()),
    "two deep branches": (lambda m, x: m.a(m.b(x).relu()).tanh() - m.b(m.a(x).relu())),
    "a branch in a branch": (lambda m, x: (lambda h: h + m.b((h + m.a(h).relu()).relu()))(m.a(x).tanh())),
    "repeated": (lambda m, x: m.a(x)[:, :, None].expand(-1, 4, 3).repeat(1, 1, 2).flatten(1)),
    "twice the same": (lambda m, x: m.a(x) + m.a.weight[0] + (lambda h: h + h)(m.b(x))),
    "sum of sums": (lambda m, x: m.a(x).sum(1, keepdim=True) + m.b(x).cumsum(1)),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAR_AND_JOINED)
def test_moves_arithmetic_and_branches(name):
    parts = {"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}
    made = program(LINEAR_AND_JOINED[name], (4,), batch=2, dtype=torch.float64, **parts)
    net, x = read_program(made), torch.randn(2, 4, dtype=torch.float64)
    torch.testing.assert_close(net(x), made.module()(x), rtol=1e-12, atol=1e-12)
    for domain in (None, ll.domains.Interval & ll.domains.Ball & ll.domains.Slopes & ll.domains.Zonotope):
        bound = ll.local_bound(net, x, 0.3, **({} if domain is None else {"domain": domain}))
        assert (ll.sampled_bound(net, x, 0.3, samples=16, steps=2).value <= bound.value).all()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch copies what torch itself has deprecated
@pytest.mark.parametrize("name", LINEAR_AND_JOINED)
def test_a_program_is_read_as_what_torch_takes_it_apart_into(name):
    made = program(LINEAR_AND_JOINED[name], (4,), batch=2, a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    found, wanted, x = read_program(made), read_program(made.run_decompositions({})), torch.randn(2, 4)
    assert str(found) == str(wanted)
    assert torch.equal(found(x), wanted(x))


@pytest.mark.parametrize(("forward", "times"), [
    (lambda m, x: m.b(torch.cat(m.a(x.unflatten(1, (2, 2)).flatten(1)).relu().chunk(2, 1), 1).reshape(2, 4)), 0),
    (lambda m, x: m.b(m.a(x).relu_()), 1),
    (lambda m, x: m.b(F.dropout(m.a(x), training=False)), 1),
])  # fmt: skip
def test_torch_takes_apart_only_what_changes_a_tensor_or_is_not_known(forward, times, monkeypatch):
    made, apart = program(forward, (4,), batch=2, a=nn.Linear(4, 4), b=nn.Linear(4, 4)), []
    taken = ExportedProgram.run_decompositions
    monkeypatch.setattr(ExportedProgram, "run_decompositions", lambda *given: apart.append(given) or taken(*given))
    read_program(made)
    assert len(apart) == times


@pytest.mark.parametrize("affine", [("weight",), ("bias",), ()])
def test_a_normalisation_with_one_of_weight_and_bias(affine):
    tensors = {"weight": torch.tensor([2.0, 3.0, 0.5, 1.0]), "bias": torch.tensor([5.0, -5.0, 0.0, 1.0])}
    parts = {name: tensors[name] for name in affine}
    made = program(
        lambda m, x: F.batch_norm(m.a(x), torch.zeros(4), torch.ones(4), **{name: getattr(m, name) for name in affine}),
        *((4,),),
        **parts,
        a=nn.Linear(4, 4),
    )
    x = torch.tensor([[0.0, 1.0, -1.0, 1e6]])
    torch.testing.assert_close(read_program(made)(x), made.module()(x))


def test_numbers_keep_their_digits():
    made = program(lambda m, x: pairs(m.a(x), high=0.1, low=-1e-46), (4,), dtype=torch.float64, a=nn.Linear(4, 4))
    net = read_program(made)
    assert (net[1].theta_max.item(), net[1].theta_min.item()) == (0.1, -1e-46)
    made = program(
        lambda m, x: torch.clamp(m.a(x), torch.zeros(4).double(), torch.tensor(0.1).double() + 1e-12), (4,),
        dtype=torch.float64, a=nn.Linear(4, 4),
    )  # fmt: skip
    net, x = read_program(made), torch.full((1, 4), 1e3).double()
    assert torch.equal(net(x), made.module()(x))
    made = program(lambda m, x: m.a(x).clamp(min=1e-50), (4,), dtype=torch.float64, a=nn.Linear(4, 4))
    found = read_program(made)(torch.cat([x, -x]))
    assert found.min() == 1e-50
    assert torch.equal(found, made.module()(torch.cat([x, -x])))


def test_common_spellings():
    class Usual(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Dropout(inplace=True))

        def forward(self, x):
            z = self.layers(x)
            a, b = z.chunk(2, -1)
            return torch.cat((torch.maximum(a, b), torch.minimum(a, b)), -1)

    made = export(Usual().eval(), (torch.randn(5, 4),), dynamic_shapes=({0: Dim("batch", min=4)},))
    assert names(read_program(made)) == ["Linear", "ReLU", "MaxMin"]
