"""The altered conditions under which a trained method is evaluated again, without training.

An altered acquisition measures exactly as the benchmark's own does (same mask, same noise, same scale) and
then changes one thing: the auxiliary image. Other noise levels and other masks need no such class: they are
an ``Acquisition`` with another field.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from data_prep.fourier import fft2c
from data_prep.measurement import Measurement, Truth
from data_prep.undersample.acquisition import Acquisition
from data_prep.undersample.slices import SliceStore

# From the split, the positions of a batch and its auxiliary images (batch, height, width) to other ones.
Alteration = Callable[[SliceStore, Sequence[int], Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class AlteredAcquisition(Acquisition):
    """An acquisition whose auxiliary is altered after all else is measured.

    Attributes:
        alteration: what happens to the auxiliary.
    """

    alteration: Alteration

    def fixed(self, store: SliceStore, positions: Sequence[int]) -> tuple[Measurement, Truth]:
        """Measure as ``Acquisition.fixed`` does, with the altered auxiliary; the truth stays."""
        measurement, truth = super().fixed(store, positions)
        auxiliary = self.alteration(store, positions, measurement.auxiliary)
        # Divided by its own maximum again as a scanner's would be (zeros stay).
        peak = auxiliary.amax(dim=(-2, -1), keepdim=True)
        auxiliary = auxiliary / torch.where(peak > 0, peak, torch.ones_like(peak))
        kspace = fft2c(auxiliary.to(torch.complex64))
        return replace(measurement, auxiliary=auxiliary, auxiliary_kspace=kspace), truth


def altered(acquisition: Acquisition, alteration: Alteration) -> AlteredAcquisition:
    """Return the acquisition with another auxiliary."""
    known = {entry.name: getattr(acquisition, entry.name) for entry in fields(acquisition) if entry.init}
    return AlteredAcquisition(**known, alteration=alteration)


def zeroed(store: SliceStore, positions: Sequence[int], auxiliary: Tensor) -> Tensor:
    """No auxiliary: zeros."""
    return torch.zeros_like(auxiliary)


def others(persons: Mapping[str, Collection[str]]) -> dict[str, str]:
    """Return, for each test subject, the next one of other persons (in order; after the last the first).

    One without any is left out.

    Args:
        persons: of each test subject's scans: a person may have several, which lie beside each other.
    """
    subjects = list(persons)
    found = {}
    for place, subject in enumerate(subjects):
        after = subjects[place + 1 :] + subjects[:place]
        if other := next((one for one in after if {*persons[one]}.isdisjoint(persons[subject])), None):
            found[subject] = other
    return found


def of_other_subject(following: Mapping[str, str]) -> Alteration:
    """The auxiliary of another test subject, see ``others``.

    The slice has the same index; where the other volume is shorter, it is its last one.
    """

    def alter(store: SliceStore, positions: Sequence[int], auxiliary: Tensor) -> Tensor:
        volumes = store.volumes()
        chosen = []
        for position in positions:
            own = volumes[store.subjects[position]].index(position)
            other = volumes[following[store.subjects[position]]]
            chosen.append(other[min(own, len(other) - 1)])
        return store.batch(chosen)[1].to(auxiliary.device)

    return alter


def shifted(pixels: int) -> Alteration:
    """Shift to the right by whole pixels: no interpolation. Zeros come in, what leaves is lost."""

    def alter(store: SliceStore, positions: Sequence[int], auxiliary: Tensor) -> Tensor:
        moved = torch.roll(auxiliary, pixels, dims=-1)
        moved[..., :pixels] = 0
        return moved

    return alter


def rotated(degrees: float) -> Alteration:
    """Rotate counter-clockwise about the image's centre; cubic interpolation, zeros beyond the edges.

    Cubic interpolation overshoots at edges; values below zero, which no magnitude has, become zero.
    """
    return lambda store, positions, auxiliary: rotate(auxiliary, degrees) if degrees else auxiliary


def rotate(images: Tensor, degrees: float) -> Tensor:
    """Rotate magnitude images (batch, height, width) as ``rotated`` says."""
    height, width = images.shape[-2:]
    angle = torch.deg2rad(torch.tensor(float(degrees)))
    cos, sin = float(torch.cos(angle)), float(torch.sin(angle))
    # From output to input in coordinates that run from -1 to 1 along each axis, rows downwards.
    matrix = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    grid = affine_grid(
        matrix.to(images).expand(len(images), 2, 3), [len(images), 1, height, width], align_corners=False
    )
    turned = grid_sample(images[:, None], grid, mode="bicubic", padding_mode="zeros", align_corners=False)
    return turned[:, 0].clamp_min(0)
