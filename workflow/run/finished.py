"""Finished runs taken up again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.errors import BadInput
from data_prep.io.files import matching
from data_prep.io.hashes import sha256_of
from data_prep.masks.from_file import register_unknown
from data_prep.masks.sets import MaskSet
from methods.registry import discover
from workflow.provenance.record import RunRecord, read_run
from workflow.provenance.runs import check_file
from workflow.run.spec import RunSpec, finished_spec

if TYPE_CHECKING:
    import torch

    from workflow.run.model import Reconstruct


@dataclass(frozen=True)
class Finished:
    """A run that has ended.

    Attributes:
        place: its folder, or the file that it was packed into.
        spec: the run, with the parameters that its evaluation chose.
        masks: what it was sampled with; of a packed run with masks drawn for each subject, none of them.
        source: of its scans, ``embedded`` or ``published``.
        fingerprint: of the test split that it was scored on.
        status: ``finished`` or ``diverged``.
        checkpoint: its weights; None of an untrained method.
        record: its ``run.json``; None if it is packed.
    """

    place: Path
    spec: RunSpec
    masks: MaskSet
    source: str
    fingerprint: str
    status: str
    checkpoint: Path | None
    record: RunRecord | None = None

    @property
    def side(self) -> int:
        """Height and width of its slices."""
        return int(self.masks.mask.shape[-1])

    @property
    def results(self) -> Path:
        """Folder of its experiment, unless it is packed."""
        return self.place.absolute().parents[4]

    def restore(self, shape: tuple[int, int], device: "torch.device") -> "Reconstruct":
        """Return its method on a device, as a function of measurements.

        Args:
            shape: (height, width) of the images, which need not be those of the training.
            device: where to reconstruct.

        Raises:
            BadInput: the weights are damaged, were replaced, or fit images of the training's size only.
        """
        from workflow.run.model import restore

        self.check_size(shape)
        _, reconstruct, _ = restore(self.spec, shape, self.checkpoint, device)
        self.check_kept()
        return reconstruct

    def check_kept(self) -> None:
        """Refuse weights that were replaced since the run was read, which may be minutes ago.

        Raises:
            BadInput: a run of the workflow has replaced them.
        """
        path, record = self.checkpoint, self.record
        if path and record and sha256_of(path) != record.outputs.get(path.name):
            raise BadInput(
                f"{path}: was replaced while this command was at work, as a run of the workflow does; run "
                "the command again when that has ended"
            )

    def check_size(self, shape: tuple[int, int]) -> None:
        """Refuse weights that do not fit the network for images of a size, before memory is taken for it.

        A file that others made may ask for a network of any size.

        Raises:
            BadInput: they do not.
        """
        if self.checkpoint is None:
            return
        import torch

        from workflow.run.checkpoint import load_whole
        from workflow.run.model import build_model

        stored = load_whole(self.checkpoint).get("state_dict")
        held = (
            {name: getattr(of, "shape", None) for name, of in stored.items()}
            if isinstance(stored, dict)
            else {}
        )
        unfit = BadInput(
            f"{self.checkpoint}: field state_dict does not fit methods/{self.spec.folder} with the "
            "parameters that it names; get the file again, or the version that wrote it"
        )
        try:
            # A network of thousands of parts takes time and memory also without its values.
            with torch.device("meta"), _weights_at_most(16 * len(held) + 100, unfit):
                wanted = {name: of.shape for name, of in build_model(self.spec, shape).state_dict().items()}
        except (ArithmeticError, BadInput, LookupError, RuntimeError, TypeError, ValueError) as error:
            # Of what was trained here, the fault is the method's.
            if error is unfit or self.record is not None:
                raise
            raise BadInput(
                f"{self.place}: methods/{self.spec.folder} cannot be built with the parameters that it names "
                f"({type(error).__name__}: {error}); get the file again, or the version that wrote it"
            ) from error
        if held != wanted and shape != (self.side, self.side):
            height, width = shape
            raise BadInput(
                f"{self.place}: {self.spec.method} was trained for images of {self.side} x {self.side} and "
                f"takes none of {height} x {width}; give images of that size, as --matrix {self.side} makes "
                "of a --target"
            )
        if held != wanted:
            raise unfit


@contextmanager
def _weights_at_most(most: int, otherwise: BadInput) -> Iterator[None]:
    """Build networks in the block that name no more weights than so many, used for a time or kept."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    left = iter(range(most))

    def count(*_: object) -> None:
        if next(left, None) is None:
            raise otherwise

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def read_finished(place: Path) -> Finished:
    """Read a run from its folder, ``results/X/runs/<dataset>/<mask>/<method>/seed<k>``.

    Raises:
        BadInput: it is none, is not finished, or its files are not those that it wrote.
    """
    above = place.absolute().parents
    if len(above) < 5 or above[3].name != "runs":
        raise BadInput(
            f"{place}: it is no run; give a folder such as results/demo/runs/<dataset>/<mask>/unet/seed0, "
            "or a file of workflow.weights"
        )
    record = read_run(place)
    spec = finished_spec(record, place)
    if spec.folder not in discover():
        raise BadInput(f"{place}: it is of methods/{spec.folder}, which is not here; add that folder")
    if record.tuning is not None:
        spec = replace(spec, parameters={**spec.parameters, **record.tuning["chosen"]}, tune={})
    register_unknown([spec.mask])
    masks = MaskSet.load(above[4] / "masks" / spec.dataset / f"{spec.mask}.npz")
    if masks.sha256 != record.mask_sha256:
        raise BadInput(
            f"{place}: it was sampled by another mask than masks/{spec.dataset}/{spec.mask}.npz now holds; "
            "run the workflow again"
        )
    checkpoint = place / "model.ckpt" if spec.trainable else None
    if checkpoint is not None:
        check_file(checkpoint, record)
    fingerprint = record.data_fingerprints.get("test", "")
    return Finished(place, spec, masks, record.source, fingerprint, record.status, checkpoint, record)


def find_runs(results: Path, **wanted: tuple[str, ...]) -> list[Path]:
    """Return the folders of an experiment's finished runs, sorted.

    Args:
        results: folder of the experiment.
        wanted: values of ``dataset``, ``mask`` and ``method`` to choose; none: all.

    Raises:
        BadInput: there is no run, or none of a wanted value.
        OSError: a folder may not be read.
    """
    found = sorted(path.parent for path in matching(results, "runs/*/*/*/seed*/run.json"))
    if not found:
        raise BadInput(f"{results}: it holds no finished run; give the results of an experiment")
    for position, name in ((2, "dataset"), (1, "mask"), (0, "method")):
        values, known = wanted.get(name, ()), {path.parents[position].name for path in found}
        for value in values:
            if value not in known:
                names = ", ".join(sorted(known))
                raise BadInput(f"--{name}: no run of {value!r} in {results}; there are {names}; choose one")
        found = [path for path in found if not values or path.parents[position].name in values]
    return found
