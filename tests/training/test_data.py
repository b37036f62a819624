from dataclasses import replace

import pytest
import torch

import lliptools as ll
from lliptools.training.batches import as_float


def numbered(samples, classes=3):
    """Samples whose features say which they are."""
    x = torch.arange(samples, dtype=torch.float64)[:, None].expand(-1, 2)
    y = torch.arange(samples) % classes
    return ll.training.Split(x, y, x[:5], y[:5])


@pytest.mark.parametrize("count", [1, 7, 20, 99])
def test_hold_out_takes_every_class_by_its_share(count):
    y = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    x = torch.arange(100)[:, None].double()
    split = ll.training.Split(x, y, x, y).hold_out(count, seed=4)
    assert len(split.x_validation) == len(split.y_validation) == count
    assert torch.equal(torch.cat((split.x_train, split.x_validation)).sort(dim=0).values, x)
    assert torch.equal(y[split.x_train[:, 0].long()], split.y_train)
    assert torch.equal(y[split.x_validation[:, 0].long()], split.y_validation)
    shares = torch.tensor([60, 30, 10]) * count / 100
    assert ((split.y_validation.bincount(minlength=3) - shares).abs() < 1).all()
    assert split.x_test is x


def test_hold_out_is_decided_by_its_seed():
    one, other, third = (numbered(50).hold_out(10, seed=seed).x_validation for seed in (0, 0, 1))
    assert torch.equal(one, other)
    assert not torch.equal(one, third)
    torch.manual_seed(99)
    assert torch.equal(numbered(50).hold_out(10).x_validation, one)
    assert numbered(50).hold_out(10).to("cpu").y_validation.shape == (10,)
    assert numbered(50).to("cpu").x_validation is None


def test_every_split_is_read_as_floats():
    x, y = torch.arange(256, dtype=torch.uint8).view(8, 1, 4, 8), torch.arange(8) % 2
    split = ll.training.Split(x, y, x[:2], y[:2])
    for each in (split, split.to("cpu"), split.hold_out(2)):
        for part in ("train", "test", "validation"):
            found, stored = getattr(each, f"x_{part}"), each.stored(part)[0]
            assert (found is None and stored is None) or torch.equal(found, stored.double() / 255)
    assert split.stored("train")[0] is x
    assert torch.equal(replace(split, y_train=1 - y).x_train, split.x_train)
    with pytest.raises(ll.InvalidInput, match="int64"):
        ll.training.Split(x.long(), y, x, y)
    with pytest.raises(TypeError, match="x_test"):
        ll.training.Split(x, y)


@pytest.mark.parametrize("count", [0, 50, -1, 0.1, True])
def test_hold_out_refuses_a_count_that_leaves_nothing(count):
    with pytest.raises(ll.InvalidInput, match="from 1 to 49"):
        numbered(50).hold_out(count)


def test_hold_out_happens_once():
    with pytest.raises(ll.InvalidInput, match="10 points held out"):
        numbered(50).hold_out(10).hold_out(5)


def test_batches_hold_every_point_once():
    split = numbered(50)
    found = list(ll.training.batches(split.x_train, split.y_train, 16, generator=torch.Generator().manual_seed(1)))
    assert [len(x) for x, _ in found] == [16, 16, 16, 2]
    x, y = (torch.cat(parts) for parts in zip(*found, strict=True))
    assert x.dtype == torch.float64
    assert not torch.equal(x, split.x_train)
    assert torch.equal(x[:, 0].sort().values, split.x_train[:, 0])
    assert torch.equal(y, x[:, 0].long() % 3)
    again = ll.training.batches(split.x_train, split.y_train, 16, generator=torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(found, again, strict=True))
    in_order = torch.cat([x for x, _ in ll.training.batches(split.x_train, split.y_train, 16, shuffle=False)])
    assert torch.equal(in_order, split.x_train)


def test_batches_of_pixels_are_floats_and_augmented_as_they_are_stored():
    x, y = torch.tensor([[0], [51], [255]], dtype=torch.uint8), torch.arange(3)
    points, _ = next(ll.training.batches(x, y, 3, shuffle=False))
    assert points.dtype == torch.float32
    assert torch.equal(points, torch.tensor([[0.0], [0.2], [1.0]]))
    seen = []

    def note(batch, *, generator):
        seen.append((batch.dtype, generator))
        return batch + 1

    generator = torch.Generator()
    wanted = ll.training.batches(x[:2], y[:2], 2, shuffle=False, augment=note, generator=generator, dtype=torch.float64)
    assert torch.equal(next(wanted)[0], torch.tensor([[1.0], [52.0]]).double() / 255)
    assert seen == [(torch.uint8, generator)]


def test_batches_feed_the_accuracy_table():
    net, digits = ll.nets.load("digits-clipped"), ll.training.digits()
    x, y = digits.x_test[:40], digits.y_test[:40]
    loader = ll.training.batches(x, y, 16, shuffle=False)
    assert ll.certified_accuracy(net, loader, None, 0.1) == ll.certified_accuracy(net, x, y, 0.1)


def test_batches_and_floats_refuse_what_they_cannot_read():
    split = numbered(50)
    for batch_size in (0, -1, 2.0, True):
        with pytest.raises(ll.InvalidInput, match="batch_size"):
            ll.training.batches(split.x_train, split.y_train, batch_size)
    with pytest.raises(ll.InvalidInput, match="different parts"):
        ll.training.batches(split.x_train, split.y_test, 16)
    with pytest.raises(ll.InvalidInput, match="int64"):
        as_float(split.y_train)
    half = split.x_train.half()
    assert as_float(half) is half


def moves(image, padding):
    """Every shift of an image (channels, height, width) with zeros around it, and every mirrored one."""
    _, height, width = image.shape
    large = torch.zeros(len(image), height + 2 * padding, width + 2 * padding, dtype=image.dtype)
    large[:, padding : padding + height, padding : padding + width] = image
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            cut = large[:, top : top + height, left : left + width]
            yield cut
            yield cut.flip(2)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
def test_augmented_images_are_shifts_and_mirror_images(dtype):
    image = torch.arange(1, 2 * 4 * 5 + 1).reshape(2, 4, 5).to(dtype)
    moved = ll.training.crop_and_flip(image.expand(600, -1, -1, -1), padding=2, generator=torch.Generator())
    assert moved.dtype == dtype
    counts = [(moved == each).flatten(1).all(dim=1).sum().item() for each in moves(image, 2)]
    assert sum(counts) == 600
    assert min(counts) > 0
    several = torch.stack((image, 50 + image, 100 + image))
    for one, before in zip(ll.training.crop_and_flip(several, padding=1), several, strict=True):
        assert any(torch.equal(one, each) for each in moves(before, 1))


def test_augmentation_repeats_under_a_generator_and_can_be_nothing():
    x = torch.rand(32, 3, 8, 8)
    one, other = (ll.training.crop_and_flip(x, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, other)
    assert not torch.equal(one, x)
    assert torch.equal(ll.training.crop_and_flip(x, padding=0, flip=False), x)
    mirrored = (ll.training.crop_and_flip(x, padding=0) != x).flatten(1).any(dim=1)
    assert 0 < mirrored.sum() < 32
    for bad, padding in ((x[0], 4), (x, -1), (x, 0.5)):
        with pytest.raises(ll.InvalidInput, match="x of shape"):
            ll.training.crop_and_flip(bad, padding=padding)
