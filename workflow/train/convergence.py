"""Whether a training had come to rest, judged by its validation losses alone."""

import math
from collections.abc import Sequence

# Largest fall of the best validation loss over the last quarter of the epochs, as a share of it.
LARGEST_FALL = 0.02
LEAST_EPOCHS = 4
RULE = (
    f"the best validation loss fell by more than {100 * LARGEST_FALL:g} % over the last quarter of the "
    f"epochs, or there were fewer than {LEAST_EPOCHS}"
)


def converged(val_losses: Sequence[float]) -> bool:
    """Tell whether training longer would hardly have helped.

    False where the best loss of the last quarter of the epochs is more than 2 % below the best before it, and
    where fewer than four epochs leave nothing to judge by. A loss that rises again (overfitting) has
    converged: its best epoch is behind. Losses that are no number are passed over.

    Args:
        val_losses: one for each epoch; above 0.
    """
    epochs = len(val_losses)
    if epochs < LEAST_EPOCHS:
        return False
    last = math.ceil(epochs / 4)
    before, after = (
        min((loss for loss in part if math.isfinite(loss)), default=math.inf)
        for part in (val_losses[:-last], val_losses[-last:])
    )
    # Nothing finite before: the fall is as large as it can be.
    return math.isfinite(before) and after >= (1 - LARGEST_FALL) * before
