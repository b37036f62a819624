"""Networks with a forward method of their own that are refused, by name and with a step that helps."""

import pytest
import torch
from torch import nn
from written import own

import lliptools as ll

F = nn.functional


REFUSED = {
    "a choice by the input": (lambda m, x: m.a(x) if x.sum() > 0 else -m.a(x), "torch.export can follow|says"),
    "a softmax": (lambda m, x: m.a(x).softmax(1), r"Softmax.*without_softmax"),
    "a softmax inside": (lambda m, x: m.b(m.a(x).softmax(1)), r'softmax in "ret.+" \(line \d+ of \w+\.py\) in'),
    "a softmax over parts": (lambda m, x: m.a(x).view(2, 2, 2).softmax(1), r"aten\.softmax\.int"),
    "a gate": (lambda m, x: m.a(x) * m.b(x), r"aten\.mul\.Tensor.*an activation of your own"),
    "attention": (lambda m, x: F.linear(m.a(x), m.b(x)), r"aten\.linear\.default.*no rule is known for attention"),
    "normalised by the sample": (lambda m, x: F.layer_norm(m.a(x), (4,)), "layer_norm .*deviation.*BatchNorm1d"),
    "without a mean": (lambda m, x: F.rms_norm(m.a(x), (4,)), "rms_norm .*deviation"),
    "random": (lambda m, x: m.a(x) + torch.randn(4), "from call to call"),
    "dropout": (lambda m, x: F.dropout(m.a(x)), r"net\.eval\(\)"),
    "numpy": (lambda m, x: m.a(x) + torch.as_tensor(x.detach().numpy()), "follow"),
    "mixing the batch": (lambda m, x: m.a(x) - m.a(x).mean(0), r"aten\.mean"),
    "another precision": (lambda m, x: m.a(x.half().to(x.dtype)), "turns torch.float32 into torch.float16"),
    "two outputs": (lambda m, x: (m.a(x), m.b(x)), "1 inputs, 2 outputs"),
    "a step": (lambda m, x: m.a(x).sign(), "sign"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_all_else_is_refused(name, capfd):
    forward, said = REFUSED[name]
    net = own(forward, a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    with pytest.raises((ll.UnsupportedLayer, ll.InvalidInput), match=said):
        ll.local_bound(net, torch.rand(2, 4), 0.1)
    assert capfd.readouterr().err == ""  # torch prints graphs


def test_attention_is_refused_by_its_name_and_what_stands_behind_it_is_bounded():
    first, last = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Linear(8, 3)
    net, x = own(lambda m, x: m.b(m.a(x).flatten(1)), a=first, b=last), torch.rand(2, 2, 4)
    with pytest.raises(ll.UnsupportedLayer, match=r"a\.self_attn \(MultiheadAttention\).*attention.*the layers behind"):
        ll.local_bound(net, x, 0.1)
    assert ll.local_bound(net.b, net.a(x).flatten(1).detach(), 0.1).value.isfinite().all()


def test_statistics_that_are_kept_are_refused_and_left():
    net = own(lambda m, x: m.b(m.a(x)), a=nn.Linear(4, 4), b=nn.BatchNorm1d(4)).train()
    before = net.b.running_mean.clone()
    with pytest.raises((ll.UnsupportedLayer, ll.InvalidInput), match=r"net\.eval\(\)"):
        ll.local_bound(net, torch.rand(2, 4), 0.1)
    assert torch.equal(net.b.running_mean, before)
    assert net.b.num_batches_tracked == 0


def test_no_gradient_is_promised():
    net = own(lambda m, x: m.a(x), a=nn.Linear(4, 4))
    with pytest.raises(ll.UnsupportedLayer, match="without gradients"):
        ll.local_bound(net, torch.rand(1, 4), 0.1, differentiable=True)


def test_hooks_are_refused():
    net = own(lambda m, x: m.a(x), a=nn.Linear(4, 4))
    net.a.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(ll.UnsupportedLayer, match="forward hook on a:"):
        ll.local_bound(net, torch.rand(1, 4), 0.1)
