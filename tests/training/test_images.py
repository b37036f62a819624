"""The published formats, read and refused."""

import gzip
import os
import re

import pytest
import torch
from published import MNIST_HEADS, RECORDS, check_tiny_imagenet, idx, jpeg, records

import lliptools as ll
from lliptools.training import images

pytestmark = pytest.mark.usefixtures("data")


def test_mnist_reads_gzipped_and_decompressed_files(tiny_mnist):
    split = ll.training.mnist()
    assert split.x_train.shape == (3, 1, 28, 28)
    assert split.x_test.shape == (2, 1, 28, 28)
    assert split.stored("train")[0].dtype == torch.uint8
    assert split.x_train.dtype == torch.float64
    assert split.y_train.tolist() == [0, 1, 2]
    assert split.y_test.dtype == torch.int64
    assert split.x_train.flatten().tolist() == [k % 10 / 255 for k in range(3 * 28 * 28)]
    for path in list(tiny_mnist.iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    again = ll.training.mnist()
    assert torch.equal(again.x_test, split.x_test)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda content: gzip.compress(content)[:-20], "a whole gzip file"),
        (lambda content: b"no gzip", "a whole gzip file"),
        (lambda content: gzip.compress(content[:-1]), "MD5 .* got 2367 bytes"),
        (lambda content: gzip.compress(content + b"\0"), "got 2369"),
        (lambda content: gzip.compress(content[:7]), "got 7 bytes"),
        (lambda content: gzip.compress(idx(2049, 3, 28, 28)), "MD5"),
        (lambda content: gzip.compress(idx(2051, 3, 28, 27)), "MD5"),
        (lambda content: gzip.compress(content[:-1] + b"\xff"), "MD5"),
    ],
)
def test_mnist_refuses_what_is_not_the_published_file(tiny_mnist, spoil, said):
    path = tiny_mnist / "train-images-idx3-ubyte.gz"
    path.write_bytes(spoil(idx(*MNIST_HEADS["train-images"])))
    with pytest.raises(ll.InvalidInput, match=said) as error:
        ll.training.mnist()
    assert f"remove {path}, and the next call downloads it" in str(error.value)
    assert images.MNIST["train-images"][0].addresses[0] in str(error.value)


def test_every_file_has_a_checksum_of_its_own():
    checksums = [md5 for source, content in images.MNIST.values() for md5 in (source.md5, content)]
    checksums += [images.CIFAR10.md5, images.TINY_IMAGENET.md5]
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in checksums)
    assert len(set(checksums)) == 10


def test_cifar10_records_are_a_label_and_three_planes_row_by_row(tiny_cifar10):
    split = ll.training.cifar10()
    assert split.x_train.shape == (5 * RECORDS, 3, 32, 32)
    assert split.x_test.shape == (RECORDS, 3, 32, 32)
    assert split.stored("test")[0].dtype == torch.uint8
    assert split.y_test.tolist() == [3, 0, 9, 1]
    assert split.y_train.tolist() == [3, 0, 9, 1] * 5
    for batch, record, channel, row, column in ((0, 0, 0, 0, 1), (0, 1, 1, 0, 0), (4, 3, 2, 31, 31), (2, 2, 1, 5, 7)):
        value = (10 * (batch + 1) + record + 1024 * channel + 32 * row + column) % 251
        assert split.x_train[RECORDS * batch + record, channel, row, column] == value / 255


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (records()[:-1], "records of 3073"),
        (records() + b"\0", "got 12293 bytes"),
        (records((0, 1, 2, 10)), "labels from 0 to 9 .* got 10"),
        (None, "a file at .*data_batch_2.bin; got none"),
    ],
)
def test_cifar10_refuses_what_is_not_its_format(tiny_cifar10, content, said):
    path = tiny_cifar10 / "data_batch_2.bin"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ll.InvalidInput, match=said) as error:
        ll.training.cifar10()
    assert f"remove {tiny_cifar10}, and the next call downloads it" in str(error.value)
    assert f"{images.CIFAR10.addresses[0]} and unpack it into {tiny_cifar10.parent}" in str(error.value)


def test_tiny_imagenet_reads_its_folders(tiny_imagenet):
    check_tiny_imagenet(ll.training.tiny_imagenet())


def a_folder_at(path):
    path.unlink()
    path.mkdir()


def bomb():
    """A JPEG image whose head says that it is 65,535 pixels wide and high."""
    content = bytearray(jpeg("RGB", 0))
    size = content.index(b"\xff\xc0") + 5
    content[size : size + 4] = b"\xff" * 4
    return bytes(content)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: (root / "wnids.txt").unlink(), "a file at .*wnids.txt"),
        (lambda root: (root / "wnids.txt").write_text("n01\n"), "2 classes .* got 1"),
        (lambda root: (root / "train/n01/images/n01_0.JPEG").unlink(), "10 JPEG images at .*n01/images; got 9"),
        (lambda root: (root / "val/images/val_1.JPEG").unlink(), "a whole JPEG image at .*val_1"),
        (lambda root: (root / "val/images/val_1.JPEG").write_bytes(jpeg("RGB", 0)[:-20]), "a whole JPEG .*truncated"),
        (lambda root: (root / "train/n02/images/n02_3.JPEG").write_bytes(b"GIF89a"), "a whole JPEG image at .*n02_3"),
        (lambda root: (root / "val/images/val_1.JPEG").write_bytes(jpeg("RGB", 0, (64, 32))), "64×64 .*64, 32"),
        (lambda root: (root / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\n"), "2 lines .* got 1"),
        (lambda root: (root / "val/val_annotations.txt").write_text("val_0.JPEG\tn02\nval_1.JPEG\tn03"), "n03"),
        (lambda root: (root / "wnids.txt").write_bytes(b"\xff\xfe\n"), "2 classes .* got 1"),
        (lambda root: (root / "val/val_annotations.txt").write_bytes(b"\xff\tn02\n" * 2), "a whole JPEG image"),
        (lambda root: a_folder_at(root / "wnids.txt"), "a file that can be read at .*wnids.txt"),
        (lambda root: a_folder_at(root / "val/images/val_1.JPEG"), "a whole JPEG image at .*val_1"),
        (lambda root: (root / "val/images/val_1.JPEG").write_bytes(bomb()), "a whole JPEG .*decompression bomb"),
    ],
)
def test_tiny_imagenet_refuses_what_is_not_its_format(tiny_imagenet, spoil, said):
    spoil(tiny_imagenet)
    with pytest.raises(ll.InvalidInput, match=said) as error:
        ll.training.tiny_imagenet()
    assert f"remove {tiny_imagenet}, and the next call downloads it" in str(error.value)


REAL = os.environ.get("LLIPTOOLS_DATA", "")


@pytest.mark.parametrize(
    ("name", "place", "shape", "first"),
    [
        ("mnist", "mnist", (60_000, 1, 28, 28), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("cifar10", "cifar10", (50_000, 3, 32, 32), [5000] * 10),
        ("tiny_imagenet", "tiny-imagenet-200", (100_000, 3, 64, 64), [500] * 200),
    ],
)
def test_the_published_set(monkeypatch, name, place, shape, first):
    if not REAL or not os.path.isdir(os.path.join(REAL, place)):
        pytest.skip(f"LLIPTOOLS_DATA names no folder with {place}")
    monkeypatch.setenv("LLIPTOOLS_DATA", REAL)
    split = getattr(ll.training, name)()
    assert split.x_train.shape == shape
    assert len(split.x_test) == len(split.y_test) == 10_000
    assert split.y_train.bincount().tolist() == first
