"""A data folder of its own for every test that asks for one, and small data sets in it."""

import gzip
from dataclasses import replace

import pytest
from published import MNIST_HEADS, RECORDS, idx, jpeg, records, register

from lliptools.training import images


@pytest.fixture
def data(monkeypatch, tmp_path):
    """An empty data folder, and no address to download from."""
    there = tmp_path / "data"
    there.mkdir()
    monkeypatch.setenv("LLIPTOOLS_DATA", str(there))
    nowhere = ("http://127.0.0.1:9/{}",)
    for name, (source, md5) in images.MNIST.items():
        away = replace(source, addresses=(nowhere[0].format(source.name),) * 2)
        monkeypatch.setitem(images.MNIST, name, (away, md5))
    for name in ("CIFAR10", "TINY_IMAGENET"):
        source = getattr(images, name)
        monkeypatch.setattr(images, name, replace(source, addresses=(nowhere[0].format(source.name),)))
    return there


@pytest.fixture
def tiny_mnist(monkeypatch, data):
    """Three images to train and two to test, in IDX files whose MD5s are the registered ones."""
    (data / "mnist").mkdir()
    for name, head in MNIST_HEADS.items():
        content = idx(*head)
        register(monkeypatch, name, content)
        (data / images.MNIST[name][0].place).write_bytes(gzip.compress(content))
    return data / "mnist"


@pytest.fixture
def tiny_cifar10(monkeypatch, data):
    monkeypatch.setattr(images, "CIFAR10_RECORDS", RECORDS)
    folder = data / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(records(start=10 * number))
    (folder / "test_batch.bin").write_bytes(records())
    return folder


@pytest.fixture
def tiny_imagenet(monkeypatch, data):
    """Two classes of ten images, the second class red but for a grey image, and two images to test."""
    monkeypatch.setattr(images, "TINY_IMAGENET_CLASSES", 2)
    monkeypatch.setattr(images, "TINY_IMAGENET_PER_CLASS", 10)
    root = data / "tiny-imagenet-200"
    for name, colour in (("n01", (0, 0, 255)), ("n02", (255, 0, 0))):
        folder = root / "train" / name / "images"
        folder.mkdir(parents=True)
        for k in range(10):
            (folder / f"{name}_{k}.JPEG").write_bytes(jpeg("RGB", colour))
    (root / "train" / "n02" / "images" / "n02_3.JPEG").write_bytes(jpeg("L", 77))
    (root / "val" / "images").mkdir(parents=True)
    for k, colour in enumerate(((255, 0, 0), (0, 0, 255))):
        (root / "val" / "images" / f"val_{k}.JPEG").write_bytes(jpeg("RGB", colour))
    (root / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn02\t0\t1\t2\t3\nval_1.JPEG\tn01\t0\t1\t2\t3\n")
    (root / "wnids.txt").write_text("n02\nn01\n")
    return root
