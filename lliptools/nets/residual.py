"""x + block(x), and shortcut(x) + block(x), as a layer."""

from torch import Tensor, nn


class Residual(nn.Module):
    """x + block(x), or shortcut(x) + block(x), for two branches with samples of one shape.

    block, shortcut: torch.nn.Sequentials of layers that the bounds can read; they may contain residual layers.
    Source: He et al., "Deep residual learning for image recognition" (CVPR 2016).
    """

    def __init__(self, block: nn.Sequential, shortcut: nn.Sequential | None = None) -> None:
        super().__init__()
        self.block = block
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        return (x if self.shortcut is None else self.shortcut(x)) + self.block(x)
