"""The simulated scanner: from stored slices to measurements, for training, validation and test.

Every random number is seeded from the names of what it belongs to, never from the method: all methods see
the same masks and the same noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from data_prep.errors import BadInput
from data_prep.masks.sets import MaskSet
from data_prep.measurement import Measurement, Truth, measure
from data_prep.seeds import seed_for
from data_prep.undersample.noise import evaluation_noise, noise_std, training_noise
from data_prep.undersample.phase import smooth_phase
from data_prep.undersample.slices import SliceStore
from data_prep.undersample.transfer import sent


@dataclass(frozen=True)
class Acquisition:
    """How slices are undersampled.

    Attributes:
        dataset: whose slices these are.
        masks: the mask set.
        noise: standard deviation of the k-space noise as a share of each slice's mean intensity; 0 where
            k-space is measured and noisy already.
        base_seed: seed of the experiment.
        phase: that magnitude targets are given: ``none`` or ``smooth``.
    """

    dataset: str
    masks: MaskSet
    noise: float
    base_seed: int
    phase: str = "none"
    _held: dict[torch.device, Tensor] = field(init=False, default_factory=dict, compare=False, repr=False)

    def fixed(self, store: SliceStore, positions: Sequence[int]) -> tuple[Measurement, Truth]:
        """Measure slices for validation or test: the same at each call, in each run, on each device.

        Args:
            store: the split.
            positions: of the slices in the split.

        Returns:
            Measurement and truth, on the store's device.
        """
        target, auxiliary = store.batch(positions)
        if self.masks.drawn:
            mask = sent(self.masks.evaluation([store.subjects[i] for i in positions]), store.device)
        else:
            mask = self._frozen(store.device, len(positions))
        noise = None
        if self.noise > 0:
            seeds = self._seeds("noise", store, positions)
            shape = (store.height, store.width)
            noise = evaluation_noise(noise_std(target, self.noise), shape, seeds, store.device)
        target = self._with_phase(target, store, positions)
        return measure(target, auxiliary, mask, noise)

    def fresh(
        self, store: SliceStore, positions: Sequence[int], seed: int, epoch: int, step: int
    ) -> tuple[Measurement, Truth]:
        """Measure slices for one training step, with masks (fastMRI) and noise (IXI) drawn for it.

        Args:
            store: the training split.
            positions: of the slices in the split.
            seed: of the training.
            epoch: counted from 0.
            step: within the epoch, counted from 0.

        Returns:
            Measurement and truth, on the store's device.
        """
        target, auxiliary = store.batch(positions)
        if self.masks.drawn:
            of_mask: dict[str, str | int] = {"mask": self.masks.name, "seed": seed, "epoch": epoch}
            drawn = self.masks.training(self._seeds("training mask", store, positions, **of_mask))
            mask = sent(drawn, store.device)
        else:
            mask = self._frozen(store.device, 1)
        noise = None
        if self.noise > 0:
            # Seeded anew for each step: a resumed training needs no state of a generator.
            of_step = {"base_seed": self.base_seed, "seed": seed, "epoch": epoch, "step": step}
            generator = torch.Generator(device=store.device)
            generator.manual_seed(seed_for(use="training noise", dataset=store.dataset, **of_step))
            noise = training_noise(noise_std(target, self.noise), (store.height, store.width), generator)
        target = self._with_phase(target, store, positions)
        return measure(target, auxiliary, mask, noise)

    def _frozen(self, device: torch.device, copies: int) -> Tensor:
        """Return new copies (copies, height, width) of the frozen mask, which a device gets once."""
        if device not in self._held:
            self._held[device] = sent(self.masks.mask, device)
        return self._held[device].repeat(copies, 1, 1)

    def _with_phase(self, target: Tensor, store: SliceStore, positions: Sequence[int]) -> Tensor:
        if self.phase == "none":
            return target
        seeds = self._seeds("phase", store, positions)
        return torch.polar(target, smooth_phase((store.height, store.width), seeds, store.device))

    def _seeds(self, use: str, store: SliceStore, positions: Sequence[int], **axes: str | int) -> list[int]:
        """Return a seed for each slice; a subject is in one split only, so that its name needs no split."""
        axes |= {"use": use, "dataset": store.dataset, "base_seed": self.base_seed}
        named = ((store.subjects[i], store.slice_indices[i]) for i in positions)
        return [seed_for(subject=subject, slice=index, **axes) for subject, index in named]


def epoch_order(slices: int, dataset: str, base_seed: int, seed: int, epoch: int) -> list[int]:
    """Return the order in which an epoch sees the training split; the same for every method and mask."""
    hashed = seed_for(use="order", dataset=dataset, base_seed=base_seed, seed=seed, epoch=epoch)
    order: list[int] = torch.randperm(slices, generator=torch.Generator().manual_seed(hashed)).tolist()
    return order


def open_acquisition(
    mask_file: Path, dataset: str, mask: str, noise: float, base_seed: int, phase: str = "none"
) -> Acquisition:
    """Load the masks of a run.

    Raises:
        BadInput: the file holds masks of another setting than the run's.
    """
    masks = MaskSet.load(mask_file)
    if masks.name != mask:
        raise BadInput(
            f"{mask_file}: holds {masks.name}, but the spec asks for {mask}; give the spec's own mask file"
        )
    return Acquisition(dataset, masks, noise, base_seed, phase)


def open_split(
    data: Path, split: str, acquisition: Acquisition, device: torch.device, resident_gigabytes: float
) -> SliceStore:
    """Open ``<data>/<split>.h5`` and check that it is the acquisition's dataset and suits its masks.

    Raises:
        BadInput: another dataset's file, or another matrix than the masks'.
    """
    store = SliceStore(data / f"{split}.h5", device, resident_gigabytes)
    masks = acquisition.masks
    if store.dataset != acquisition.dataset:
        raise BadInput(
            f"{store.path}: holds {store.dataset}, but the spec asks for {acquisition.dataset}; "
            f"give the folder data/{acquisition.dataset}"
        )
    height, width = masks.evaluation(store.subjects[:1]).shape[1:]
    if width != store.width or height not in (1, store.height):
        raise BadInput(
            f"{store.path}: slices of {store.height} x {store.width} do not fit the mask {masks.name} of "
            f"{height} x {width}; run the step `mask` again"
        )
    return store
