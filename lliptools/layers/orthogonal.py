"""Orthogonal layers: the Cayley transform, dense and convolutional, and block reflections."""

import math

import torch
from torch import Tensor, nn

from lliptools.errors import InvalidInput, UnsupportedLayer
from lliptools.layers.bases import DenseMap, one_lipschitz
from lliptools.layers.checks import check_shape, check_widths
from lliptools.layers.condition import smallest
from lliptools.layers.images import ConvMap
from lliptools.nets import Chain
from lliptools.nets.linear import LinearMap
from lliptools.nets.operators import Convolution, Shape

LARGEST = 1e3  # norm of the weights up to which (I + A)⁻¹ is found well in float64; larger ones are scaled down to it


def cayley(weight: Tensor) -> Tensor:
    """A matrix with orthonormal columns, or rows where there are more columns, of the same shape (…, rows, columns).

    For rows >= columns, weight = [U; V] and A = U − Uᴴ + VᴴV; the result is [(I + A)⁻¹(I − A); −2V(I + A)⁻¹]. Weights
    of a Frobenius norm above 1e3 are scaled down to it. A Newton step takes away what the inverse has rounded.
    Source: Trockman and Kolter, "Orthogonalizing convolutional layers with the Cayley transform" (ICLR 2021).
    """
    if weight.shape[-2] < weight.shape[-1]:
        return cayley(weight.mH).mH
    largest = weight.detach().abs().amax(dim=(-2, -1), keepdim=True)
    largest = torch.where(largest > torch.finfo(largest.dtype).tiny * 1e9, largest, 1.0)
    length = torch.linalg.vector_norm((weight / largest).detach(), dim=(-2, -1), keepdim=True)
    # In two steps: the product of both may overflow.
    weight = weight / largest * torch.minimum(largest, LARGEST / length.clamp_min(1.0))
    columns = weight.shape[-1]
    U, V = weight[..., :columns, :], weight[..., columns:, :]
    eye = torch.eye(columns, dtype=weight.dtype, device=weight.device)
    A = U - U.mH + V.mH @ V
    top = torch.linalg.solve(eye + A, eye - A)
    # (I + A)⁻¹ = (I + (I + A)⁻¹(I − A))/2, and it commutes with I − A.
    Q = torch.cat([top, -V @ (eye + top)], dim=-2)
    return Q @ (3 * eye - Q.mH @ Q) / 2


@one_lipschitz
class CayleyLinear(DenseMap):
    """x ↦ Q x + b on (batch, in_features) with Q orthogonal: orthonormal rows, or columns, or both.

    Parameters: weight (out_features, in_features), bias (out_features,). All singular values are 1.
    Raises InvalidInput. Source: Trockman and Kolter (ICLR 2021), equations 3 and 4.
    """

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        nn.init.xavier_normal_(self.weight)

    def matrix(self) -> Tensor:
        return cayley(self.weight.double())

    def rounding(self, dtype: torch.dtype) -> float:
        """As of every map, and how far QᵀQ was found from the identity."""
        return super().rounding(dtype) + _defect(self.matrix())

    def where(self) -> str:
        return "on features, all singular values 1"


@one_lipschitz
class BROLinear(DenseMap):
    """x ↦ (I − 2V(VᵀV)⁻¹Vᵀ) x + b: a reflection in the space of V's columns, cut to size where widths differ.

    Parameters: weight V (max(in_features, out_features), rank), bias (out_features,). A rank as large as the wider side
    would leave −I for every weight, hence rank is half of it unless another is given.
    Raises InvalidInput. Source: Lai et al., "Enhancing certified robustness via block reflector orthogonal layers and
    logit annealing loss" (ICML 2025).
    """

    def __init__(self, in_features: int, out_features: int, rank: int | None = None) -> None:
        super().__init__(in_features, out_features)
        wider = max(in_features, out_features)
        rank = max(1, wider // 2) if rank is None else rank
        check_widths(self, rank=rank)
        if rank > wider:
            why = "more columns than the space has dimensions", "leave rank out"
            raise InvalidInput(f"rank of at most {wider}, the wider side", f"rank={rank}", *why)
        self.weight = nn.Parameter(nn.init.xavier_normal_(torch.empty(wider, rank)))

    def matrix(self) -> Tensor:
        """The reflection, cut to (out_features, in_features).

        V = QR is found with √ε I below V, so that columns that depend on each other leave R invertible: their share of
        the projection is cut, its eigenvalues stay in [0, 1]; a step p ↦ 3p² − 2p³ brings those next to 0 and 1 there.
        """
        V = self.weight.double()
        largest = V.detach().abs().amax()
        V = V / torch.where(largest > smallest(self.weight), largest, 1.0)
        floor = math.sqrt(torch.finfo(V.dtype).eps) * torch.eye(V.shape[1], dtype=V.dtype, device=V.device)
        projected = torch.linalg.qr(torch.cat([V, floor])).Q[: len(V)]
        gram = projected.T @ projected
        whole = torch.eye(len(V), dtype=V.dtype, device=V.device)
        whole = whole - 2 * projected @ (3 * gram - 2 * gram @ gram) @ projected.T
        return whole[: self.out_features, : self.in_features]

    def rounding(self, dtype: torch.dtype) -> float:
        return super().rounding(dtype) + 64 * len(self.weight) ** 1.5 * torch.finfo(torch.float64).eps

    def where(self) -> str:
        return "on features, all singular values 1 unless columns of V nearly depend on each other"


@one_lipschitz
class CayleyConv2d(ConvMap):
    """An orthogonal convolution on a torus: the Cayley transform of the kernel, frequency by frequency.

    Parameters: weight (out_channels, in_channels, k, k), bias (out_channels,). Circular padding that keeps the size
    and stride 1 only: others have no orthogonal convolution of this form. Works on images of every size of at least k;
    the kernel that results is as large as the image, and another for each size.
    Raises InvalidInput and UnsupportedLayer. Source: Trockman and Kolter (ICLR 2021), algorithm 1.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        padding: int | None = None,
        padding_mode: str = "circular",
    ) -> None:
        padding = (kernel_size - 1) // 2 if padding is None else padding
        super().__init__(in_channels, out_channels, kernel_size, padding, padding_mode)
        nn.init.xavier_normal_(self.weight)

    def check(self) -> None:
        """Raise UnsupportedLayer for a padding or stride for which there is no orthogonal convolution."""
        super().check()
        wanted = (self.kernel_size - 1) // 2
        if (self.padding_mode, self.padding, self.stride) != ("circular", wanted, 1):
            expected = f'padding_mode="circular" with padding={wanted} and stride 1 in CayleyConv2d'
            got = f"padding_mode={self.padding_mode!r}, padding={self.padding}, stride={self.stride}"
            cause = "an orthogonal convolution is one on a torus, which keeps its size"
            step = "put torch.nn.PixelUnshuffle(2) before it for a stride of 2, or use AOLConv2d"
            raise UnsupportedLayer(expected, got, cause, step)

    def kernel(self) -> Tensor:
        """The raw kernel, of which every image size makes its own orthogonal one (symbols)."""
        return self.weight.double()

    def symbols(self, size: tuple[int, int]) -> Tensor:
        """The orthogonal matrix of every frequency, (height, width//2 + 1, out_channels, in_channels), complex."""
        rolled = nn.functional.pad(self.kernel(), (0, size[1] - self.kernel_size, 0, size[0] - self.kernel_size))
        rolled = rolled.roll((-self.padding, -self.padding), dims=(2, 3))
        # The conjugate: torch's convolution correlates.
        return cayley(torch.fft.rfft2(rolled).conj().permute(2, 3, 0, 1))

    def chain(self, shape: Shape, dtype: torch.dtype) -> Chain:
        symbols = self._checked_symbols(shape)
        kernel = torch.fft.irfft2(symbols.conj().permute(2, 3, 0, 1), s=shape[1:])
        pads = ((0, shape[1] - 1), (0, shape[2] - 1))
        operator = Convolution(kernel.to(dtype), shape, (1, 1), (1, 1), pads, circular=True)
        rounding = 1e3 * operator.terms * torch.finfo(dtype).eps + _defect(symbols)
        return Chain((LinearMap.of(operator, self.bias),), rounding=rounding)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, in_channels, height, width) -> (batch, out_channels, height, width), by Fourier transform."""
        if not x.numel() or x.dtype not in (torch.float32, torch.float64):  # for which there is no Fourier transform
            return super().forward(x)
        size = tuple(x.shape[-2:])
        h = x.reshape(-1, *x.shape[-3:])
        symbols = self._checked_symbols(tuple(h.shape[1:])).to(torch.complex64 if x.dtype == torch.float32 else None)
        products = torch.einsum("hwoi,bihw->bohw", symbols, torch.fft.rfft2(h))
        y = torch.fft.irfft2(products, s=size) + self.bias.to(x.dtype)[:, None, None]
        return y.reshape(*x.shape[:-3], *y.shape[1:])

    def _checked_symbols(self, shape: Shape) -> Tensor:
        check_shape(self, shape, (self.in_channels, *shape[1:]))
        if min(shape[1:]) < self.kernel_size:
            why = "one layer too many that shrinks them", "use a smaller kernel"
            expected = f"images of at least {self.kernel_size} pixels a side before CayleyConv2d"
            raise InvalidInput(expected, f"shape {shape}", *why)
        return self.symbols((shape[1], shape[2]))

    def where(self) -> str:
        return f"on images of every size from {self.kernel_size}, circular padding, singular values 1"


def _defect(Q: Tensor) -> float:
    """‖QᴴQ − I‖ in the Frobenius norm, the largest of a batch: what rounding has left of orthogonality."""
    with torch.no_grad():
        Q = Q if Q.shape[-2] >= Q.shape[-1] else Q.mH
        gram = Q.mH @ Q
        eye = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        return float(torch.linalg.vector_norm(gram - eye, dim=(-2, -1)).max())
