"""High-frequency error norm: how well edges and texture are kept."""

from workflow.metrics.contract import Metric
from workflow.metrics.formulas import hfen

METRIC = Metric(
    id="hfen",
    label="HFEN",
    meaning="norm of the error behind a Laplacian of a Gaussian of 1.5 pixels, over that of the truth",
    rising=False,
    perfect=0.0,
    digits=3,
    score=hfen,
)
