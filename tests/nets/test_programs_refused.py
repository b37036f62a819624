"""Programs of torch.export that no layers describe are refused, by the name of what stands in the way."""

import re

import pytest
import torch
from torch import nn
from torch.export import Dim, export
from written import THETA, Written, pairs, program, refusal

import lliptools as ll
from lliptools.nets import read_program

F = nn.functional
REFUSED = {
    "log_sigmoid": (lambda m, x: F.logsigmoid(m.a(x)), "log_sigmoid"),
    "softmax": (lambda m, x: -m.a(x).softmax(1), "softmax"),
    "weights that depend on the input": (lambda m, x: F.linear(x, x.t() @ x), "aten.t.default"),
    "a reshaping across samples": (lambda m, x: m.a(x).reshape(1, -1), "reshape of shape"),
    "a reshaping to one axis": (lambda m, x: m.a(x).view(-1), "view"),
    "bits read as other numbers": (
        lambda m, x: m.a(x).view(torch.int32).clamp(0, 2**30).view(torch.float32), "view.dtype"),
    "a random constant": (lambda m, x: F.linear(x, m.a.weight + 1e-4 * torch.randn(4, 4)), "from call to call"),
    "a constant of any value": (lambda m, x: F.linear(x, torch.empty(4, 4)), "from call to call"),
    "halves of the batch": (lambda m, x: torch.cat([*m.a(x).chunk(2, dim=0)], 0), "chunk"),
    "normalised by the batch": (lambda m, x: F.batch_norm(m.a(x), None, None, training=True), "batch_norm"),
    "a mean in another precision": (
        lambda m, x: m.a(x).unflatten(1, (1, 2, 2)).mean((2, 3), dtype=torch.float64), "mean|TypeError"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused_by_name(name):
    forward, said = REFUSED[name]
    assert re.search(said, refusal(program(forward, (4,), batch=2, a=nn.Linear(4, 4))))


SIZES = {
    "a threshold that grows": lambda m, x: torch.minimum(m.a(x).relu(), m.theta * x.shape[0]),
    "a number that grows": lambda m, x: F.hardtanh(m.a(x), 0, 10 * x.shape[0]),
    "a clamp that grows": lambda m, x: m.a(x).clamp(0, x.shape[0]),
    "a slope that falls": lambda m, x: F.leaky_relu(m.a(x), 1 / x.shape[0]),
    "a constant of that size": lambda m, x: torch.minimum(m.a(x).relu(), torch.ones(x.shape[0], 1)),
}


@pytest.mark.parametrize("name", SIZES)
def test_what_depends_on_how_many_samples_there_are_is_refused(name):
    assert "RuntimeError" not in refusal(program(SIZES[name], (4,), a=nn.Linear(4, 4), theta=THETA))


@pytest.mark.parametrize("theta", [torch.ones(4, 1), torch.arange(16.0).view(4, 4)])
def test_a_threshold_a_sample_is_refused(theta):
    """With a batch of four it has the shape of four units, but for the comparison of more than one sample."""
    made = program(lambda m, x: torch.minimum(m.a(x).relu(), m.theta), (4,), batch=4, a=nn.Linear(4, 4), theta=theta)
    with pytest.raises((ll.UnsupportedLayer, ll.InvalidInput)):
        ll.local_bound(read_program(made).double(), torch.zeros(1, 4).double(), 0.1)


def test_a_module_that_changes_itself_is_refused_and_left_as_it_was():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))
            self.weight = nn.Parameter(torch.eye(2))

        def forward(self, x):
            self.count.add_(1)
            return F.linear(x, self.weight * (1 + (self.count > 3)))

    made = export(Counting(), (torch.ones(2, 2),))
    for _ in range(4):
        with pytest.raises(ll.InvalidInput, match="2 outputs"):
            read_program(made)
    assert made.state_dict["count"] == 0


def test_one_image_without_a_batch_is_refused():
    """Its channels would be read as samples, and halves of its height as halves of the channels."""
    parts = {"a": nn.Conv2d(2, 2, 3, padding=1), "b": nn.Conv2d(2, 2, 1)}
    made = program(lambda m, x: m.b(pairs(m.a(x))), (8, 8), batch=2, **parts)
    assert "conv2d" in refusal(made)


def test_outputs_that_are_never_finite_are_refused():
    made = program(lambda m, x: F.linear(x, m.weight), (2,), weight=torch.full((2, 2), torch.inf))
    assert "not finite" in refusal(made)


def test_an_image_whose_size_is_open_is_refused():
    made = export(nn.Conv2d(1, 1, 3), (torch.randn(2, 1, 8, 8),), dynamic_shapes=({2: Dim("height", min=4)},))
    assert "no batch" in refusal(made)


def test_a_layer_that_the_bounds_refuse_is_refused_by_them():
    net = read_program(program(lambda m, x: F.softplus(m.a(x), 1.0, 5.0), (4,), a=nn.Linear(4, 4)))
    with pytest.raises(ll.UnsupportedLayer, match="threshold"):
        ll.local_bound(net.double(), torch.zeros(1, 4).double(), 0.1)


def test_one_input_and_one_output():
    two = export(Written(lambda m, x: (x.relu(), x.tanh())), (torch.randn(2, 3),))
    with pytest.raises(ll.InvalidInput, match="1 inputs, 2 outputs"):
        read_program(two)
    learning = export(nn.Sequential(nn.BatchNorm1d(3)).train(), (torch.randn(2, 3),))
    with pytest.raises(ll.InvalidInput, match=r"1 inputs, \d outputs"):
        read_program(learning)


@pytest.mark.parametrize("content", [None, b"", b"PK nothing of the kind"])
def test_a_file_that_is_none(content, tmp_path):
    path = tmp_path / "net.pt2"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ll.InvalidInput, match="no such file" if content is None else r"torch\.export\.save"):
        ll.nets.load(path)
