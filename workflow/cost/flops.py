"""Floating point operations of a method for one slice, counted and not estimated.

``python -m workflow.cost.flops --matrix 256`` prints every method at the full size of its ``method.yaml``.

Torch's own counter sees every operation of one forward pass: two operations for each multiplication with its
addition in convolutions and matrix products. It knows no Fourier transforms; they are counted here as
5 N log2 N operations for N complex points, the convention of the FFTW library's benchmarks (M. Frigo and
S. G. Johnson, "The design and implementation of FFTW3", Proceedings of the IEEE 93(2), 2005). Activations,
normalisations, sums and interpolation are not counted.
"""

import math
import sys
from collections.abc import Mapping
from typing import Annotated, Any

from data_prep.errors import BadInput
from data_prep.io.command import command
from methods.registry import discover, load_builder


def count(folder: str, parameters: Mapping[str, Any], image_shape: tuple[int, int]) -> int:
    """Count the operations of one forward pass on one slice.

    Args:
        folder: the method's folder.
        parameters: what its ``build`` gets.
        image_shape: (height, width).
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from data_prep.measurement import measure

    height, width = image_shape
    target = torch.rand((1, height, width), generator=torch.Generator().manual_seed(0))
    # Half of the columns: the number of operations does not depend on the mask.
    mask = (torch.arange(width) % 2 == 0)[None, None, :]
    measurement, _ = measure(target, target, mask)
    model = load_builder(folder)(parameters, image_shape).eval()
    aten = torch.ops.aten
    transforms = dict.fromkeys((aten._fft_c2c, aten._fft_r2c, aten._fft_c2r), _fft_operations)
    counter = FlopCounterMode(display=False, custom_mapping=transforms)
    with torch.no_grad(), counter:
        model(measurement)
    return int(counter.get_total_flops())


def _fft_operations(shape: Any, dims: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """5 N log2 N for each transformed stretch of N points, from the input's shape and the axes."""
    points = math.prod(shape[axis] for axis in dims)
    return int(5 * math.prod(shape) * math.log2(points)) if points > 1 else 0


@command
def show(matrix: Annotated[int, "height and width in pixels; default 256"] = 256) -> None:
    """Print the operations of every method."""
    if matrix < 1:
        raise BadInput("--matrix: must be at least 1; give pixels such as 256")
    for name, entry in discover().items():
        operations = count(name, entry.default.parameters, (matrix, matrix))
        sys.stdout.write(f"{name:<12} {operations / 1e9:12.4f} GFLOPs per slice\n")
        sys.stdout.flush()
