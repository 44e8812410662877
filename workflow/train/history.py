"""Curves of a training: history.csv and TensorBoard."""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from data_prep.io.files import write_rows

HISTORY = ("epoch", "train_loss", "val_loss", "val_psnr", "learning_rate", "seconds")


class TensorBoardCurves:
    """A training's history for TensorBoard: every finished epoch once, however often it was interrupted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer: Any = None
        self._written = 0

    def update(self, history: "list[dict[str, float]]") -> None:
        """Write the epochs that are not written yet; the first call replaces what an earlier process left."""
        if self._writer is None:
            # Heavy, and of no use to other trainings.
            from torch.utils.tensorboard import SummaryWriter

            shutil.rmtree(self.folder, ignore_errors=True)
            self._writer = SummaryWriter(str(self.folder))
        for row in history[self._written :]:
            for name in HISTORY[1:]:
                self._writer.add_scalar(name, row[name], int(row["epoch"]))
        self._written = len(history)
        self._writer.flush()


def write_history(history: Iterable[Mapping[str, Any]], path: Path) -> None:
    """Write history.csv; numbers read back exactly."""
    write_rows(path, HISTORY, history)
