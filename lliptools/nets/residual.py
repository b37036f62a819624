"""x + block(x) as a layer."""

from torch import Tensor, nn

__all__ = ["Residual"]


class Residual(nn.Module):
    """x + block(x), for a block that keeps the shape of its samples.

    block: a torch.nn.Sequential of layers that the bounds can read; it may contain residual layers itself.
    Source: He et al., "Deep residual learning for image recognition" (CVPR 2016).
    """

    def __init__(self, block: nn.Sequential) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        """x + block(x), same shape as x."""
        return x + self.block(x)
