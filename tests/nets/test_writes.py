"""What is written over while another value stands in the same memory is refused: layers are read as if it were not."""

import pytest
import torch
from torch import nn
from torch.nn.functional import dropout, leaky_relu, relu

import lliptools as ll


class Twice(nn.Module):
    """h + 100 · min(h, 0), or so, by writing over what may be h itself."""

    def __init__(self, handed_on, after=None):
        super().__init__()
        self.a, self.b, self.handed_on, self.after = nn.Linear(1, 2), nn.Linear(2, 2), handed_on, after

    def forward(self, x):
        h = self.a(x)
        written = leaky_relu(self.handed_on(h), 100.0, inplace=True)
        return self.b(written) if self.after is None else self.b(self.after(h, written))


class Identity(ll.nets.Activation):
    """Returns its input itself."""

    def forward(self, z):
        return z

    def image(self, lower, upper):
        return lower, upper

    def slopes(self, lower, upper):
        return torch.ones_like(lower), torch.ones_like(upper)


HANDED_ON = {
    "dropout": nn.Dropout(),
    "dropout, as a function": lambda h: dropout(h, 0.5, training=False),
    "einsum": lambda h: torch.einsum("bi->bi", h),
    "an own activation": Identity(),
    "what may be a view": lambda h: h.roll(0, dims=1),
}


@pytest.mark.parametrize("name", HANDED_ON)
def test_what_is_used_again_is_not_written_over(name):
    """It is refused, or, by a torch that follows it, read as what it is."""
    torch.manual_seed(0)
    net = Twice(HANDED_ON[name], lambda h, written: h + written).double().eval()
    x = torch.tensor([[-9.0], [9.0]]).double()
    try:
        bound = ll.local_bound(net, x, 1.0).value
    except ll.UnsupportedLayer:
        return
    assert (bound >= ll.sampled_bound(net, x, 1.0).value).all()


@pytest.mark.parametrize("handed_on", [lambda h: h, nn.Dropout(), nn.Identity(), lambda h: h.reshape(-1, 2), relu])
def test_what_is_not_used_again_may_be_written_over(handed_on):
    net = Twice(handed_on).double().eval()
    x = torch.linspace(-3, 3, 7)[:, None].double()
    assert (ll.local_bound(net, x, 1.0).value >= ll.sampled_bound(net, x, 1.0).value).all()


@pytest.mark.parametrize("after", [lambda h, written: h + written, lambda h, written: h * 2])
@pytest.mark.parametrize("handed_on", [lambda h: h, lambda h: h[:, :1].expand(-1, 2) + h, lambda h: h.view(-1, 2)])
def test_what_torch_follows_is_read(handed_on, after):
    torch.manual_seed(0)
    net = Twice(handed_on, after).double().eval()
    x = torch.linspace(-3, 3, 7)[:, None].double()
    assert (ll.local_bound(net, x, 1.0).value >= ll.sampled_bound(net, x, 1.0).value).all()


class Half(nn.Module):
    def forward(self, x):
        return x[:, :1]


FIRST = {"a part": Half(), "itself": Identity(), "nothing": nn.Identity(), "another shape": nn.Flatten()}


@pytest.mark.parametrize("name", FIRST)
def test_a_branch_does_not_write_over_the_input_that_is_added(name):
    wide = 1 if name == "a part" else 2
    branch = nn.Sequential(FIRST[name], nn.LeakyReLU(100.0, inplace=True), nn.Linear(wide, 2))
    net = nn.Sequential(nn.Linear(1, 2), ll.nets.Residual(branch)).double().eval()
    with pytest.raises(ll.UnsupportedLayer, match="it writes over the input of"):
        ll.local_bound(net, torch.zeros(1, 1).double(), 1.0)
