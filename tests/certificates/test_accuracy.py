"""Accuracy tables: one radius or several, arrays or a loader, and certified ≤ attacked ≤ clean."""

import re

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import lliptools as ll


def setting(count=40):
    net, data = ll.nets.load("digits-clipped"), ll.training.digits()
    return net, data.x_test[:count], data.y_test[:count]


@pytest.mark.slow
def test_several_radii_in_one_pass():
    net, x, y = setting()
    radii = [0.0, 0.1, 1.0]
    tables = ll.certified_accuracy(net, x, y, radii)
    assert [table.eps for table in tables] == radii
    assert [str(table) for table in tables] == [str(ll.certified_accuracy(net, x, y, radius)) for radius in radii]
    assert tables[2].certified < tables[0].certified
    for table in tables:
        assert table.certified <= table.attacked <= table.clean
        assert table.points == 40
    assert tables[0].certified == tables[0].clean
    assert len(str(tables).splitlines()) == 4


@pytest.mark.slow
@pytest.mark.parametrize("eps", [36 / 255, 72 / 255, 0.3, 0.1, 0.29999999, 1e-300, 0.0, 1 / 3, 2 / 3])
def test_the_radius_that_is_printed_is_not_above_the_one_that_is_certified(eps):
    net, x, y = setting(2)
    table = ll.certified_accuracy(net, x, y, eps)
    bounds = (ll.local_bound(net, x, eps), ll.exact_bound(ll.nets.load("moons"), ll.training.moons().x_test[:1], eps))
    several = ll.certified_accuracy(net, x, y, [eps])
    texts = [str(table).split()[2].rstrip(":"), str(several).splitlines()[1].split()[0]]
    texts += [re.search(r"at eps = ([^,\n]+)", str(bound))[1] for bound in bounds]
    assert all(float(text) <= eps for text in texts)
    assert [float(text) for text in texts] == pytest.approx([eps] * 4, rel=1e-3)
    if eps in (0.3, 0.1):
        assert texts == [f"{eps}"] * 4


def test_ties_are_wrong():
    net, x, y = nn.Sequential(nn.Linear(2, 3)), torch.randn(4, 2), torch.zeros(4, dtype=torch.int64)
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    table = ll.certified_accuracy(net, x, y, 0.1)
    assert (table.clean, table.attacked, table.certified) == (0.0, 0.0, 0.0)


@pytest.mark.slow
def test_a_loader(capsys):
    net, x, y = setting()
    loader = DataLoader(TensorDataset(x, y), batch_size=16)
    given = (x, y, [0.1]), (loader, None, [0.1]), (loader, [0.1])
    whole, *batched = (str(ll.certified_accuracy(net, *data, progress=True)) for data in given)
    assert batched == [whole, whole]
    assert str(ll.certified_accuracy(net, loader, eps=0.1)) == str(ll.certified_accuracy(net, loader, 0.1))
    assert "100%" in capsys.readouterr().err


def test_what_it_does_not_take():
    net, x, y = setting(2)
    for arguments, said in (
        ((net, [], None, 0.1), "at least one point"),
        ((net, x, y, []), "at least one point and one radius"),
        ((net, list(x), y, 0.1), "y=None"),
        ((net, x, None, 0.1), "y as an integer tensor"),
        ((net, x, 0.1), "y as an integer tensor"),
        ((net, x, y), "no eps"),
        ((net, x), "no eps"),
        ((net, x, y, torch.tensor(0.1)), "eps as a tensor"),
    ):
        with pytest.raises(ll.InvalidInput, match=said):
            ll.certified_accuracy(*arguments)
