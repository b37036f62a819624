"""Where data sets lie, and how they get there."""

import gzip
import io
import tarfile
import zipfile
from dataclasses import replace

import pytest
from published import MNIST_HEADS, RECORDS, check_tiny_imagenet, idx, md5, records, served

import lliptools as ll
from lliptools.training import files, images

pytestmark = pytest.mark.usefixtures("data")


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
