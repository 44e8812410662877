"""Steps that torch compiles: one graph for every method."""

import pytest
import torch

from methods import recomputation
from methods.check import Candidate, methods_of
from methods.registry import Method, discover
from methods.tiny import example
from workflow.train.batches import Batch, Learner

TRAINED = [method for entry in discover() for method in methods_of(entry) if method.trainable]


@pytest.mark.parametrize("method", TRAINED, ids=lambda method: method.id)
def test_a_step_is_one_graph_with_transforms_and_loss(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of maps that are large enough to be computed again.
    monkeypatch.setattr(recomputation, "_WORTHWHILE", 0)
    candidate = Candidate(method)
    learner = Learner(candidate.small(candidate.even).train(), recompute=True)
    torch.compiler.reset()
    found = torch._dynamo.explain(learner)(Batch(*example(candidate.even)))
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons
