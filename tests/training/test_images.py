import gzip
import hashlib
import io
import os
import re
import struct
import tarfile
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

import lliptools as ll
from lliptools.training import files, images

MNIST_HEADS = {
    "train-images": (2051, 3, 28, 28),
    "train-labels": (2049, 3),
    "test-images": (2051, 2, 28, 28),
    "test-labels": (2049, 2),
}


@pytest.fixture(autouse=True)
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


@contextmanager
def served(folder):
    """A folder on this machine's loopback interface; yields its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def md5(content):
    return hashlib.md5(content).hexdigest()


def idx(*head):
    """The content of an IDX file with bytes 0, 1, 2, … from 0 to 9."""
    return struct.pack(f">{len(head)}I", *head) + bytes(k % 10 for k in range(int(np.prod(head[1:]))))


def register(monkeypatch, name, content):
    monkeypatch.setitem(images.MNIST, name, (images.MNIST[name][0], md5(content)))


@pytest.fixture
def tiny_mnist(monkeypatch, data):
    """Three images to train and two to test, in IDX files whose MD5s are the registered ones."""
    (data / "mnist").mkdir()
    for name, head in MNIST_HEADS.items():
        content = idx(*head)
        register(monkeypatch, name, content)
        (data / images.MNIST[name][0].place).write_bytes(gzip.compress(content))
    return data / "mnist"


def test_mnist_reads_gzipped_and_decompressed_files(tiny_mnist):
    split = ll.training.mnist()
    assert split.x_train.shape == (3, 1, 28, 28)
    assert split.x_test.shape == (2, 1, 28, 28)
    assert split.x_train.dtype == torch.uint8
    assert split.y_train.tolist() == [0, 1, 2]
    assert split.y_test.dtype == torch.int64
    assert split.x_train.flatten().tolist() == [k % 10 for k in range(3 * 28 * 28)]
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
        (lambda content: gzip.compress(content[:-1]), "2368 bytes for 3 samples .* got 2367"),
        (lambda content: gzip.compress(content + b"\0"), "got 2369"),
        (lambda content: gzip.compress(content[:7]), "got 7 bytes"),
        (lambda content: gzip.compress(idx(2049, 3, 28, 28)), "starts with 2051"),
        (lambda content: gzip.compress(idx(2051, 3, 28, 27)), r"sizes \(28, 27\)"),
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


def test_a_missing_file_that_cannot_be_downloaded(tiny_mnist):
    path = tiny_mnist / "t10k-labels-idx1-ubyte.gz"
    path.unlink()
    with pytest.raises(ll.InvalidInput, match="no connection") as error:
        ll.training.mnist()
    assert str(path) in str(error.value)
    assert f"fetch {images.MNIST['test-labels'][0].addresses[0]} and put it into {tiny_mnist}" in str(error.value)
    assert len(list(tiny_mnist.iterdir())) == 3


def test_a_data_folder_that_does_not_exist(monkeypatch, data):
    monkeypatch.setenv("LLIPTOOLS_DATA", str(data / "mistyped"))
    with pytest.raises(ll.InvalidInput, match="mkdir -p"):
        ll.training.cifar10()
    assert not (data / "mistyped").exists()


def test_without_the_variable_data_lie_in_the_cache(monkeypatch, data):
    monkeypatch.delenv("LLIPTOOLS_DATA")
    monkeypatch.setattr("pooch.os_cache", lambda project: data / project)
    assert files.folder() == data / "lliptools"
    with pytest.raises(ll.InvalidInput, match=r"lliptools/cifar10.*no connection"):
        ll.training.cifar10()


def serve_mnist(monkeypatch, web, address, first="missing"):
    """The four files on the web, beneath the second address of each; the first leads elsewhere."""
    for name, head in MNIST_HEADS.items():
        content = idx(*head)
        source = images.MNIST[name][0]
        (web / source.name).write_bytes(gzip.compress(content))
        there = replace(
            source,
            md5=md5((web / source.name).read_bytes()),
            addresses=(f"{address}/{first}/{source.name}", f"{address}/{source.name}"),
        )
        monkeypatch.setitem(images.MNIST, name, (there, md5(content)))


def test_mnist_is_downloaded_from_the_first_address_that_has_it(monkeypatch, tmp_path, data):
    web = tmp_path / "web"
    web.mkdir()
    with served(web) as address:
        serve_mnist(monkeypatch, web, address)
        assert ll.training.mnist().x_train.shape == (3, 1, 28, 28)
    assert sorted(path.name for path in (data / "mnist").iterdir()) == sorted(path.name for path in web.iterdir())
    assert ll.training.mnist().x_test.shape == (2, 1, 28, 28)  # the server is gone


def test_a_corrupted_download_is_refused_and_leaves_nothing(monkeypatch, tmp_path, data):
    web = tmp_path / "web"
    web.mkdir()
    with served(web) as address:
        serve_mnist(monkeypatch, web, address)
        spoilt = web / images.MNIST["train-images"][0].name
        spoilt.write_bytes(spoilt.read_bytes()[:-1])
        with pytest.raises(ll.InvalidInput, match="MD5"):
            ll.training.mnist()
    assert not list((data / "mnist").iterdir())


def tar(path, contents):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("cifar-10-batches-bin/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc"
        archive.addfile(link)
    return path


RECORDS = 4


def records(labels=(3, 0, 9, 1), start=0):
    return b"".join(
        bytes([label]) + bytes(((start + k + np.arange(3072)) % 251).tolist()) for k, label in enumerate(labels)
    )


@pytest.fixture
def tiny_cifar10(monkeypatch, data):
    monkeypatch.setattr(images, "CIFAR10_RECORDS", RECORDS)
    folder = data / "cifar10" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    for number in range(1, 6):
        (folder / f"data_batch_{number}.bin").write_bytes(records(start=10 * number))
    (folder / "test_batch.bin").write_bytes(records())
    return folder


def test_cifar10_records_are_a_label_and_three_planes_row_by_row(tiny_cifar10):
    split = ll.training.cifar10()
    assert split.x_train.shape == (5 * RECORDS, 3, 32, 32)
    assert split.x_test.shape == (RECORDS, 3, 32, 32)
    assert split.x_train.dtype == torch.uint8
    assert split.y_test.tolist() == [3, 0, 9, 1]
    assert split.y_train.tolist() == [3, 0, 9, 1] * 5
    for batch, record, channel, row, column in ((0, 0, 0, 0, 1), (0, 1, 1, 0, 0), (4, 3, 2, 31, 31), (2, 2, 1, 5, 7)):
        value = (10 * (batch + 1) + record + 1024 * channel + 32 * row + column) % 251
        assert split.x_train[RECORDS * batch + record, channel, row, column] == value


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


def test_cifar10_is_downloaded_and_unpacked_with_nothing_beside_it(monkeypatch, tmp_path, data):
    monkeypatch.setattr(images, "CIFAR10_RECORDS", RECORDS)
    web = tmp_path / "web"
    web.mkdir()
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    contents = {f"cifar-10-batches-bin/{name}": records() for name in names}
    outside = {"../../escaped": b"1", f"{tmp_path}/absolute": b"2", "cifar-10-batches-bin/../beside": b"3"}
    archive = tar(web / images.CIFAR10.name, contents | outside)
    with served(web) as address:
        there = replace(images.CIFAR10, md5=md5(archive.read_bytes()), addresses=(f"{address}/{archive.name}",))
        monkeypatch.setattr(images, "CIFAR10", there)
        assert ll.training.cifar10().y_test.tolist() == [3, 0, 9, 1]
    assert [path.name for path in (data / "cifar10").iterdir()] == ["cifar-10-batches-bin"]
    assert sorted(path.name for path in (data / "cifar10" / "cifar-10-batches-bin").iterdir()) == names
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "web"]
    assert [path.name for path in data.iterdir()] == ["cifar10"]


def test_an_archive_cut_short_or_of_something_else(tmp_path, monkeypatch, data):
    whole = tar(tmp_path / "whole.tar.gz", {"cifar-10-batches-bin/a": bytes(range(256)) * 40}).read_bytes()
    for name in ("short.tar.gz", "short.zip"):
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ll.InvalidInput, match=r"a whole .* archive"):
            files.unpack(tmp_path / name, "cifar-10-batches-bin", tmp_path)
    with served(tmp_path) as address:
        other = tar(tmp_path / "other.tar.gz", {"something/else": b""})
        source = replace(images.CIFAR10, md5=md5(other.read_bytes()), addresses=(f"{address}/other.tar.gz",))
        with pytest.raises(ll.InvalidInput, match="cifar-10-batches-bin"):
            files.find(source)
    assert not list((data / "cifar10").iterdir())


def jpeg(mode, colour, size=(64, 64)):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


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


def check_tiny_imagenet(split):
    assert split.x_train.shape == (20, 3, 64, 64)
    assert split.x_train.dtype == torch.uint8
    assert split.y_train.tolist() == [0] * 10 + [1] * 10
    assert split.y_test.tolist() == [1, 0]
    blue, red, grey = split.x_train[0], split.x_train[10], split.x_train[13]
    assert torch.equal(split.x_test, torch.stack((red, blue)))
    assert ((red.int() - torch.tensor([255, 0, 0])[:, None, None]).abs() <= 2).all()
    assert (grey == 77).all()


def test_tiny_imagenet_reads_its_folders(tiny_imagenet):
    check_tiny_imagenet(ll.training.tiny_imagenet())


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
    ],
)
def test_tiny_imagenet_refuses_what_is_not_its_format(tiny_imagenet, spoil, said):
    spoil(tiny_imagenet)
    with pytest.raises(ll.InvalidInput, match=said) as error:
        ll.training.tiny_imagenet()
    assert f"remove {tiny_imagenet}, and the next call downloads it" in str(error.value)


def test_tiny_imagenet_is_downloaded_and_unpacked(monkeypatch, tmp_path, data, tiny_imagenet):
    web = tmp_path / "web"
    tiny_imagenet.rename(web)
    archive = web / images.TINY_IMAGENET.name
    with zipfile.ZipFile(archive, "w") as whole:
        for path in sorted(web.rglob("*")):
            if path != archive:
                whole.write(path, f"tiny-imagenet-200/{path.relative_to(web)}")
        whole.writestr("../escaped", "1")
    with served(web) as address:
        there = replace(images.TINY_IMAGENET, md5=md5(archive.read_bytes()), addresses=(f"{address}/{archive.name}",))
        monkeypatch.setattr(images, "TINY_IMAGENET", there)
        check_tiny_imagenet(ll.training.tiny_imagenet())
    assert [path.name for path in data.iterdir()] == ["tiny-imagenet-200"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "web"]


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
