"""Small files in the formats of the published data sets, and a server for them."""

import hashlib
import io
import struct
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import torch
from PIL import Image

from lliptools.training import images

MNIST_HEADS = {
    "train-images": (2051, 3, 28, 28),
    "train-labels": (2049, 3),
    "test-images": (2051, 2, 28, 28),
    "test-labels": (2049, 2),
}


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


RECORDS = 4


def records(labels=(3, 0, 9, 1), start=0):
    return b"".join(
        bytes([label]) + bytes(((start + k + np.arange(3072)) % 251).tolist()) for k, label in enumerate(labels)
    )


def jpeg(mode, colour, size=(64, 64)):
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, "JPEG", quality=95)
    return file.getvalue()


def check_tiny_imagenet(split):
    assert split.x_train.shape == (20, 3, 64, 64)
    assert split.stored("train")[0].dtype == torch.uint8
    assert split.x_train.dtype == torch.float64
    assert split.y_train.tolist() == [0] * 10 + [1] * 10
    assert split.y_test.tolist() == [1, 0]
    blue, red, grey = split.x_train[0], split.x_train[10], split.x_train[13]
    assert torch.equal(split.x_test, torch.stack((red, blue)))
    assert ((red - torch.tensor([1, 0, 0])[:, None, None]).abs() <= 2 / 255).all()
    assert (grey == 77 / 255).all()
