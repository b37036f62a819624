"""Networks handed to others compute the same: in plain torch, as a program, in onnxruntime."""

import subprocess
import sys

import pytest
import torch
from torch import nn

import lliptools as ll
from lliptools.nets import ClippedMaxMin, ClippedReLU, MaxMin, Residual

NETS = {
    "one threshold": (lambda: nn.Sequential(nn.Linear(4, 3), ClippedReLU(0.7), nn.Linear(3, 3), ClippedReLU(6)), (4,)),
    "no threshold": (lambda: nn.Sequential(nn.Linear(4, 3), ClippedReLU(float("inf")), nn.Linear(3, 2)), (4,)),
    "a threshold that shuts": (lambda: nn.Sequential(nn.Linear(4, 3), ClippedReLU(-1.0), nn.Linear(3, 2)), (4,)),
    "a threshold each": (
        lambda: nn.Sequential(nn.Linear(4, 3), ClippedReLU(torch.tensor([0.1, -0.2, 0.3])), nn.Linear(3, 2)), (4,)),
    "pairs": (lambda: nn.Sequential(
        nn.Linear(4, 6), MaxMin(), nn.Linear(6, 4), ClippedMaxMin(torch.tensor([0.1, 0.2]), -0.1)), (4,)),
    "images": (lambda: nn.Sequential(
        nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), ClippedReLU(torch.rand(4, 1, 1)), nn.Conv2d(4, 4, 3, padding=1),
        ClippedMaxMin(0.2, -0.2), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)), (1, 10, 10)),
    "residual": (lambda: nn.Sequential(
        nn.Linear(4, 4), Residual(nn.Sequential(nn.Linear(4, 4), ClippedReLU(torch.rand(4)))), nn.Linear(4, 3)), (4,)),
    "by design": (lambda: nn.Sequential(
        ll.layers.SLLLinear(4, 5, ClippedReLU(0.3)), ll.layers.AOLLinear(4, 6), MaxMin(),
        ll.layers.NormalizedLinear(6, 3)), (4,)),
    "averages": (lambda: nn.Sequential(
        ll.layers.PadChannels(1, 2), ll.layers.ScaledAvgPool2d(2), nn.AvgPool2d(2, 1, divisor_override=3),
        nn.Flatten(), nn.Linear(8, 3)), (1, 6, 6)),
}  # fmt: skip


def made(name, dtype):
    make, shape = NETS[name]
    torch.manual_seed(0)
    net = make().to(dtype).eval()
    return net, shape, torch.randn(9, *shape, dtype=dtype)


def close(found, wanted, dtype):
    limit = 1e-12 if dtype == torch.float64 else 1e-5
    torch.testing.assert_close(found, wanted, rtol=limit, atol=limit)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", NETS)
def test_plain_torch_computes_the_same(name, dtype):
    net, shape, x = made(name, dtype)
    plain = ll.export(net, shape)
    close(plain(x), net(x), dtype)
    assert all(type(part).__module__.startswith("torch.") for part in plain.modules())
    assert not plain.training
    for parameter in net.parameters():
        parameter.data.fill_(7.0)
    assert not any((parameter == 7.0).any() for parameter in plain.parameters())  # a copy


def test_parts_keep_their_own_mode():
    net = nn.Sequential(
        nn.Linear(4, 4), nn.BatchNorm1d(4), ClippedReLU(torch.rand(4)), nn.Dropout(),
        Residual(nn.Sequential(nn.Dropout())),
        nn.Sequential(nn.Dropout(), MaxMin()),
    )  # fmt: skip
    net[1].eval()
    net[5][0].eval()
    plain = ll.export(net)
    assert [part.training for part in plain] == [part.training for part in net]
    assert not plain[5][0].training
    net.eval()
    net[3].train()
    assert [part.training for part in ll.export(net)] == [part.training for part in net]
    assert ll.layers.export(net).training is False


@pytest.mark.parametrize(("net", "shape"), [(None, (4,)), (nn.Linear(4, 2), 4), (nn.Linear(4, 2), (0,))])
def test_what_is_no_network_or_no_shape(net, shape):
    with pytest.raises(ll.InvalidInput, match="whole numbers"):
        ll.export(net, shape)


def test_the_layers_that_torch_names():
    names = [type(layer).__name__ for layer in ll.export(made("one threshold", torch.float64)[0])]
    assert names == ["Linear", "Hardtanh", "Linear", "ReLU6"]
    assert type(ll.export(made("no threshold", torch.float64)[0])[1]) is nn.ReLU


@pytest.mark.slow
@pytest.mark.parametrize("name", NETS)
def test_a_file_of_torch_export_comes_back(name, tmp_path):
    net, shape, x = made(name, torch.float64)
    plain = ll.export(net, shape, to=tmp_path / "net.pt2")
    again = ll.nets.load(tmp_path / "net.pt2", trust=True)
    close(again(x), net(x), torch.float64)
    close(plain(x), net(x), torch.float64)
    assert (ll.local_bound(again, x, 0.1).value >= ll.sampled_bound(net, x, 0.1, samples=16, steps=2).value).all()


@pytest.mark.slow
def test_it_runs_where_lliptools_is_not_installed(tmp_path):
    net, shape, x = made("images", torch.float32)
    ll.export(net, shape, to=tmp_path / "net.pt2")
    torch.save((x, net(x)), tmp_path / "pair.pt")
    code = (
        "import sys; sys.modules['lliptools'] = None; import torch; "
        f"x, y = torch.load({str(tmp_path / 'pair.pt')!r}); "
        f"assert torch.allclose(torch.export.load({str(tmp_path / 'net.pt2')!r}).module()(x), y, atol=1e-6)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what torch's exporter imports warns of itself
@pytest.mark.parametrize("name", ["a threshold each", "pairs", "images", "residual", "by design", "averages"])
def test_onnxruntime_agrees(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra that the tests install is not there")
    net, shape, x = made(name, torch.float32)
    ll.export(net, shape, to=tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    for batch in (x, x[:1]):
        (found,) = session.run(["logits"], {"x": batch.numpy()})
        close(torch.from_numpy(found), net(batch).detach(), torch.float32)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as above
def test_onnx_has_all_digits_of_a_threshold(tmp_path):
    pytest.importorskip("onnxscript", reason="the extra that the tests install is not there")
    net = (
        nn.Sequential(nn.Linear(1, 1), ClippedReLU(torch.tensor(0.1).double() - 1e-9), nn.Linear(1, 1)).double().eval()
    )
    ll.export(net, (1,), to=tmp_path / "net.onnx")
    x = torch.tensor([[-1e3], [1e3]]).double()
    close(ll.nets.load(tmp_path / "net.onnx")(x), net(x), torch.float64)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # as above
def test_the_precision_of_a_file_is_that_of_thresholds_without_weights(tmp_path):
    net = nn.Sequential(ClippedReLU(torch.rand(4).double()), nn.Flatten())
    ll.export(net, (4,), to=tmp_path / "net.pt2")
    x = torch.randn(3, 4).double()
    close(torch.export.load(tmp_path / "net.pt2").module()(x), net(x), torch.float64)
    close(ll.nets.load(tmp_path / "net.pt2", trust=True)(x), net(x), torch.float64)


def test_an_average_that_onnx_cannot_say(tmp_path):
    pytest.importorskip("onnxscript", reason="the extra that the tests install is not there")
    net = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True, divisor_override=3))
    with pytest.raises(ll.UnsupportedLayer, match="ceil_mode and divisor_override=3"):
        ll.export(net, (1, 5, 5), to=tmp_path / "net.onnx")


@pytest.mark.parametrize(("to", "shape"), [("net.onnx", None), ("net.pt2", None), ("net.pth", (4,))])
def test_what_a_file_needs(to, shape, tmp_path):
    with pytest.raises(ll.InvalidInput, match="input_shape"):
        ll.export(made("one threshold", torch.float64)[0], shape, to=tmp_path / to)
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ll.InvalidInput, match=r"lliptools\[onnx\]"):
        ll.export(made("one threshold", torch.float64)[0], (4,), to=tmp_path / "net.onnx")
