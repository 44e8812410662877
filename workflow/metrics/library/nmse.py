"""Normalised mean squared error, eq. 16 of the paper."""

from workflow.metrics.contract import Metric
from workflow.metrics.formulas import nmse

METRIC = Metric(
    id="nmse",
    label="NMSE",
    meaning="squared error over the squared norm of the truth",
    rising=False,
    perfect=0.0,
    digits=4,
    score=nmse,
)
