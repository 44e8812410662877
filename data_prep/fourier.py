"""The Fourier transform of this benchmark: centred, orthonormal, two-dimensional.

``fft2c`` and ``ifft2c`` act on the last two axes of a numpy array or a torch tensor of any leading
shape, for odd and even sizes. They are unitary: Parseval holds and the inverse is the adjoint.
torch is not imported here, so that steps which only prepare data stay light.
"""

from typing import Any

import numpy as np

_AXES = (-2, -1)


def fft2c(image: Any) -> Any:
    """Image (..., height, width) to k-space (..., height, width), zero frequency at index n // 2."""
    if isinstance(image, np.ndarray):
        shifted = np.fft.ifftshift(image, axes=_AXES)
        return np.fft.fftshift(np.fft.fft2(shifted, axes=_AXES, norm="ortho"), axes=_AXES)
    from torch import fft

    return fft.fftshift(fft.fft2(fft.ifftshift(image, dim=_AXES), norm="ortho"), dim=_AXES)


def ifft2c(kspace: Any) -> Any:
    """k-space (..., height, width) to image (..., height, width): the inverse and adjoint of ``fft2c``."""
    if isinstance(kspace, np.ndarray):
        shifted = np.fft.ifftshift(kspace, axes=_AXES)
        return np.fft.fftshift(np.fft.ifft2(shifted, axes=_AXES, norm="ortho"), axes=_AXES)
    from torch import fft

    return fft.fftshift(fft.ifft2(fft.ifftshift(kspace, dim=_AXES), norm="ortho"), dim=_AXES)
