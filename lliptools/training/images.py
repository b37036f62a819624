"""MNIST, CIFAR-10 and Tiny-ImageNet from their published files: images (samples, channels, height, width) in [0, 1]."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lliptools.errors import extra
from lliptools.training.data import Split
from lliptools.training.files import Source, damaged, find, read


def _mnist(file: str, md5: str, content: str) -> tuple[Source, str]:
    mirrors = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
    name = f"{file}-ubyte.gz"
    return Source(f"mnist/{name}", md5, tuple(f"{mirror}{name}" for mirror in mirrors)), content


# Each file with its MD5, and that of what it holds decompressed: a compressed one depends on who compressed it.
MNIST = {
    "train-images": _mnist("train-images-idx3", "f68b3c2dcbeaaa9fbdd348bbdeb94873", "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels": _mnist("train-labels-idx1", "d53e105ee54ea40749a09fcbcd1e9432", "a25bea736e30d166cdddb491f175f624"),
    "test-images": _mnist("t10k-images-idx3", "9fb629c4189551a2d022fa330f9573f3", "2646ac647ad5339dbf082846283269ea"),
    "test-labels": _mnist("t10k-labels-idx1", "ec29112dd5afa0611ce80d1b7f02629c", "27ae3e4e09519cfbb04c329615203637"),
}
CIFAR10 = Source(
    "cifar10/cifar-10-batches-bin",
    "c32a1d4ab5d03f1284b67883e8d87530",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
)
CIFAR10_RECORDS = 10_000  # in each of the six files
TINY_IMAGENET = Source(
    "tiny-imagenet-200", "90528d7ca1a48142e341f4ef8d21d0de", ("http://cs231n.stanford.edu/tiny-imagenet-200.zip",)
)
TINY_IMAGENET_CLASSES, TINY_IMAGENET_PER_CLASS = 200, 500

CUT_SHORT = "a download or copy that stopped early, or another version of the set"
OTHER = "another file under this name"


def mnist() -> Split:
    """The 28×28 handwritten digits: 60,000 to train, 10,000 to test; (samples, 1, 28, 28) in [0, 1].

    Read from mnist/{train,t10k}-{images-idx3,labels-idx1}-ubyte in the data folder, .gz or decompressed, and compared
    with the published files bit by bit (MD5); downloaded where they are missing, 11 MB. Stored as bytes.
    Raises InvalidInput.
    Source: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document recognition (1998).
    """
    train, train_labels, test, test_labels = (_idx(name) for name in MNIST)
    return Split(train[:, None], train_labels.long(), test[:, None], test_labels.long())


def cifar10() -> Split:
    """Small photographs in 10 classes: 50,000 to train, 10,000 to test; (samples, 3, 32, 32) in [0, 1].

    Read from cifar10/cifar-10-batches-bin in the data folder, the "binary version"; downloaded where that folder is
    missing, 170 MB. Stored as bytes, 184 MB. Raises InvalidInput for files of another form.
    Source: Krizhevsky, Learning multiple layers of features from tiny images (2009).
    """
    there = find(CIFAR10)
    x_train, y_train = _records([there / f"data_batch_{number}.bin" for number in range(1, 6)])
    return Split(x_train, y_train, *_records([there / "test_batch.bin"]))


def tiny_imagenet() -> Split:
    """Photographs in 200 classes: 100,000 to train, 10,000 to test; (samples, 3, 64, 64) in [0, 1].

    Read from tiny-imagenet-200 in the data folder, in about a minute; downloaded where that folder is missing, 248 MB.
    Stored as bytes, 1.35 GB.
    The test part is the published validation part, as is usual: the labels of the published test part are secret.
    Classes are numbered in the alphabetical order of their WordNet identifiers; grey images get three equal channels.
    Needs Pillow. Raises InvalidInput.
    Source: Le, Yang, Tiny ImageNet visual recognition challenge (Stanford CS231N, 2015).
    """
    there = find(TINY_IMAGENET)
    names = sorted(set(read(there / "wnids.txt", TINY_IMAGENET).decode(errors="replace").split()))
    _require_count(TINY_IMAGENET_CLASSES, "classes", names, there / "wnids.txt", OTHER)
    paths: list[Path] = []
    for name in names:
        folder = there / "train" / name / "images"
        found = sorted(folder.glob("*.JPEG"))
        _require_count(TINY_IMAGENET_PER_CLASS, "JPEG images", found, folder, CUT_SHORT)
        paths += found
    y_train = torch.arange(len(names)).repeat_interleave(TINY_IMAGENET_PER_CLASS)
    test_paths, y_test = _annotated(there / "val", names)
    return Split(_jpegs(paths), y_train, _jpegs(test_paths), y_test)


def _require(path: Path, source: Source, holds: bool, expected: str, got: str, cause: str) -> None:
    if not holds:
        raise damaged(path, source, expected, got, cause)


def _require_count(count: int, of: str, found: Sequence[object], path: Path, cause: str) -> None:
    _require(path, TINY_IMAGENET, len(found) == count, f"{count} {of}", f"{len(found)}", cause)


def _idx(name: str) -> Tensor:
    """The images (samples, 28, 28) or labels (samples,) of an IDX file: a head that MD5 vouches for, and the bytes."""
    source, md5 = MNIST[name]
    path = find(source)
    content = read(path, source)
    got = hashlib.md5(content, usedforsecurity=False).hexdigest()
    _require(path, source, got == md5, f"content with MD5 {md5}", f"{len(content)} bytes with MD5 {got}", CUT_SHORT)
    head, shape = (16, (28, 28)) if name.endswith("images") else (8, ())
    return torch.tensor(np.frombuffer(content, np.uint8, offset=head).reshape(-1, *shape))


def _records(paths: list[Path]) -> tuple[Tensor, Tensor]:
    """Images and labels of CIFAR-10's binary files: a byte for the label, then red, green and blue, each row by row."""
    size = 1 + 3 * 32 * 32
    x = torch.empty((len(paths) * CIFAR10_RECORDS, 3, 32, 32), dtype=torch.uint8)
    y = torch.empty(len(x), dtype=torch.int64)
    for k, path in enumerate(paths):
        content, require = read(path, CIFAR10), partial(_require, path, CIFAR10)
        expected = f"{CIFAR10_RECORDS * size} bytes, {CIFAR10_RECORDS} records of {size}"
        require(len(content) == CIFAR10_RECORDS * size, expected, f"{len(content)} bytes", CUT_SHORT)
        records = np.frombuffer(content, np.uint8).reshape(-1, size)
        largest = records[:, 0].max()
        require(largest < 10, "labels from 0 to 9", f"{largest}", "CIFAR-100, or not a binary version")
        here = slice(k * CIFAR10_RECORDS, (k + 1) * CIFAR10_RECORDS)
        y.numpy()[here] = records[:, 0]
        x.numpy()[here] = records[:, 1:].reshape(-1, 3, 32, 32)
    return x, y


def _annotated(folder: Path, names: list[str]) -> tuple[list[Path], Tensor]:
    """Paths and labels of the validation images: a line holds a file's name, its class and a box, between tabs."""
    path = folder / "val_annotations.txt"
    numbers = {name: number for number, name in enumerate(names)}
    rows = [line.split("\t") for line in read(path, TINY_IMAGENET).decode(errors="replace").splitlines() if line]
    _require_count(TINY_IMAGENET_CLASSES * TINY_IMAGENET_PER_CLASS // 10, "lines", rows, path, CUT_SHORT)
    strange = next((row for row in rows if len(row) < 2 or row[1] not in numbers), None)
    _require(path, TINY_IMAGENET, strange is None, "a name and a class of wnids.txt on every line", f"{strange}", OTHER)
    return [folder / "images" / row[0] for row in rows], torch.tensor([numbers[row[1]] for row in rows])


def _jpegs(paths: list[Path]) -> Tensor:
    """The images (samples, 3, 64, 64) of JPEG files."""
    from tqdm.auto import tqdm

    x = torch.empty((len(paths), 3, 64, 64), dtype=torch.uint8)

    def fill(start: int) -> None:
        for index in range(start, min(start + TINY_IMAGENET_PER_CLASS, len(paths))):
            x.numpy()[index] = _jpeg(paths[index])

    starts = range(0, len(paths), TINY_IMAGENET_PER_CLASS)
    with ThreadPoolExecutor() as threads:  # Pillow lets other threads run while it decodes
        for _ in tqdm(threads.map(fill, starts), desc="Tiny-ImageNet", total=len(starts)):
            pass
    return x


def _jpeg(path: Path) -> np.ndarray:
    """The pixels (3, 64, 64) of a JPEG file."""
    with extra("data"):
        from PIL import Image

    try:
        with Image.open(path, formats=("JPEG",)) as image:
            size = image.size
            _require(path, TINY_IMAGENET, size == (64, 64), "an image of 64×64 pixels", f"{size}", OTHER)
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, Image.DecompressionBombError) as error:
        raise damaged(path, TINY_IMAGENET, "a whole JPEG image", str(error), CUT_SHORT) from error
