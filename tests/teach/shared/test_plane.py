"""The square of the plane around points: its border."""

import torch

import lliptools as ll
from lliptools.teach.shared.plane import Plane


def test_the_border_is_one_line_where_it_is_one():
    torch.manual_seed(0)
    net = ll.nets.mlp(2, 2).double()
    border = Plane(net, torch.tensor([[-1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)).border
    assert border[-1].isnan().all()
    assert border.isnan().any(dim=1).sum() == 1
    logits = net(border[:-1])
    assert ((logits[:, 0] - logits[:, 1]).abs() < 1e-9).all()
    assert (border[1:-1] - border[:-2]).norm(dim=1).max() < 0.1


def test_a_border_that_is_closed_is_drawn_to_its_end():
    net = ll.nets.mlp(2, 8, 2).double()
    with torch.no_grad():  # class 1 where |x₁| + |x₂| > 1
        corners = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=torch.float64)
        net[0].weight.copy_(corners.repeat(2, 1))
        net[0].bias.zero_()
        net[2].weight.copy_(torch.stack([torch.zeros(8), torch.full((8,), 0.25)]).double())
        net[2].bias.copy_(torch.tensor([1.0, 0.0]))
    border = Plane(net, torch.tensor([[-2.0, -2.0], [2.0, 2.0]], dtype=torch.float64)).border
    line = border[:-1]
    assert not line.isnan().any()
    assert (line[0] - line[-1]).norm() < 1e-6
    assert (line.min(dim=0).values < -0.9).all()
    assert (line.max(dim=0).values > 0.9).all()
