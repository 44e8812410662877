"""Steps that torch compiles: one graph for every method, the same training, and never two kinds in one.

On the CPU by torch's ``aot_eager``, which traces and differentiates a step as its compiler for GPUs does, and
leaves out the last stage only, the making of kernels.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import SIDE, tiny_spec
from tiny_trainings import StopAt, Toy, results, run, training_of

from data_prep.errors import BadInput
from data_prep.measurement import Measurement
from data_prep.undersample.device_memory import DeviceMemory
from methods import recomputation
from methods.check import Candidate, methods_of
from methods.contract import Reconstruction
from methods.registry import Method, discover
from methods.tiny import example
from workflow.run.model import build_model
from workflow.run.spec import RunSpec, TrainingSpec
from workflow.train import choices
from workflow.train.batches import Batch, Learner
from workflow.train.choices import WORTHWHILE_STEPS, Choices, compiles, recomputes
from workflow.train.loop import Training
from workflow.train.termination import Termination

COMPILED, EAGER = Choices("aot_eager"), Choices()
FOLDERS = discover()
# Trained below, which takes one graph too; with the variants, they are left to the long tests.
FITTED = ("unet", "xiang", "dudornet", "manet")
TRAINED = [
    pytest.param(
        method, id=method.id, marks=pytest.mark.long if method.folder in FITTED or method.changes else []
    )
    for folder in FOLDERS
    for method in methods_of(folder)
    if method.trainable
]


@pytest.fixture(autouse=True)
def _nothing_compiled():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def small_spec(name: str, **changes: Any) -> RunSpec:
    method = FOLDERS[name].default
    parameters = {**method.parameters, **method.small}
    same = {"method": name, "folder": name, "parameters": parameters, "optimiser": method.optimiser}
    return tiny_spec(**same, training__epochs=2, training__batch_size=6, **changes)


def fitted(folder: Path, spec: RunSpec, state: Path, chosen: Choices, stop: int | None = None) -> Training:
    termination = Termination() if stop is None else StopAt(stop)
    training = training_of(folder, spec, build_model(spec, (SIDE, SIDE)), state, chosen, termination)
    training.resume()
    training.fit()
    return training


def learnt(training: Training) -> tuple[list[str], list[bytes], list[tuple[float, float]]]:
    weights = training.progress.weights
    curves = [(row["train_loss"], row["val_loss"]) for row in training.progress.history]
    return list(weights), [value.numpy().tobytes() for value in weights.values()], curves


# ---- one graph ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", TRAINED)
def test_a_step_is_one_graph_with_transforms_and_loss(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As of maps that are large enough to be computed again.
    monkeypatch.setattr(recomputation, "_WORTHWHILE", 0)
    candidate = Candidate(method)
    learner = Learner(candidate.small(candidate.even).train(), Choices())
    found = torch._dynamo.explain(learner)(Batch(*example(candidate.even)))
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


def test_a_method_that_breaks_the_graph_is_refused_by_name(ixi, tmp_path):
    class Looking(Toy):
        def forward(self, measurement: Measurement) -> Reconstruction:
            assert self.factor.item() > 0
            return super().forward(measurement)

    training = training_of(ixi, tiny_spec(), Looking(), tmp_path / "state.pt", COMPILED)
    with pytest.raises(
        BadInput, match=r"^training\.compile: torch cannot compile unet \(.+\); set the key to"
    ):
        training.fit()
    training_of(ixi, tiny_spec(), Looking(), tmp_path / "state.pt", EAGER).fit()


# ---- the same training ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["manet", "dudornet"])
def test_a_compiled_training_learns_the_same_to_the_bit_under_the_same_names(
    ixi, tmp_path, monkeypatch, name
):
    # Eager steps compute again what they do of large maps.
    monkeypatch.setattr(recomputation, "_WORTHWHILE", 0)
    spec = small_spec(name)
    eager = fitted(ixi, spec, tmp_path / "eager.pt", EAGER)
    compiled = fitted(ixi, spec, tmp_path / "compiled.pt", COMPILED)
    assert learnt(compiled) == learnt(eager)
    assert (eager.progress.compiled, eager.progress.compile_seconds) == (False, 0)
    progress = compiled.progress
    assert progress.compiled
    assert progress.compile_seconds > 0
    # Where compiling takes longer than all steps, no measured time holds it.
    assert 0 < sum(row["seconds"] for row in progress.history) < progress.compile_seconds
    assert 0 < progress.training_seconds < progress.compile_seconds


@pytest.mark.parametrize("name", ["unet", "xiang"])
def test_an_interrupted_compiled_training_ends_with_the_same_bits(ixi, tmp_path, name):
    # Dropout or batch statistics; batches of 5, 5 and 2 slices, of which a resumed training first sees 2.
    spec = small_spec(name) if name == "xiang" else tiny_spec(training__epochs=2)
    whole = fitted(ixi, spec, tmp_path / "whole.pt", COMPILED)
    assert learnt(whole) == learnt(fitted(ixi, spec, tmp_path / "eager.pt", EAGER))
    with pytest.raises(SystemExit):
        fitted(ixi, spec, tmp_path / "broken.pt", COMPILED, stop=2)
    resumed = fitted(ixi, spec, tmp_path / "broken.pt", COMPILED)
    assert resumed.progress.restarts == 1
    assert learnt(resumed) == learnt(whole)


# ---- what auto comes to ---------------------------------------------------------------------------


def training_spec(**changes: Any) -> TrainingSpec:
    return tiny_spec(**{f"training__{name}": value for name, value in changes.items()}).training


@pytest.mark.parametrize(
    ("device", "steps", "changes", "expected"),
    [
        ("cuda", WORTHWHILE_STEPS, {"deterministic": False}, True),
        ("cuda", WORTHWHILE_STEPS - 1, {"deterministic": False}, False),
        ("cuda", WORTHWHILE_STEPS, {}, False),
        ("cuda", WORTHWHILE_STEPS, {"deterministic": False, "devices": 2}, False),
        ("cpu", WORTHWHILE_STEPS, {"deterministic": False}, False),
        ("cuda", 1, {"compile": True}, True),
        ("cpu", WORTHWHILE_STEPS, {"compile": True}, False),
        ("cuda", WORTHWHILE_STEPS, {"compile": False, "deterministic": False}, False),
    ],
)
def test_auto_compiles_long_trainings_on_one_gpu_that_need_not_be_deterministic(
    device, steps, changes, expected
):
    assert compiles(training_spec(**changes), device, steps) is expected


def test_the_number_of_steps_is_that_of_all_epochs(monkeypatch):
    seen = []
    monkeypatch.setattr(choices, "compiles", lambda training, device, steps: seen.append((device, steps)))
    choices.chosen(training_spec(epochs=7, batch_size=5), torch.device("cpu"), 12, 32 * 32)
    assert seen == [("cpu", 21)]


GB = 10**9
PAPER = 8 * 256 * 256


@pytest.mark.parametrize(
    ("total", "places", "precision", "pixels", "expected"),
    [
        (24 * GB, 1, "bf16-mixed", PAPER, True),
        (24 * GB, 1, "bf16-mixed", PAPER // 2, False),
        (40 * GB, 1, "bf16-mixed", PAPER, False),
        (40 * GB, 1, "32-true", PAPER, True),
        (80 * GB, 1, "32-true", PAPER, False),
        (80 * GB, 2, "bf16-mixed", PAPER, False),
        (80 * GB, 4, "bf16-mixed", PAPER, True),
        (8 * GB, 1, "32-true", 8 * 64 * 64, False),
    ],
)
def test_cheap_results_are_computed_again_where_a_training_s_share_could_not_keep_them(
    total, places, precision, pixels, expected
):
    # What is free at the moment must not decide: a resumed training would choose anew.
    for free in (0, total):
        memory = DeviceMemory(total, free, own=0, places=places)
        assert recomputes("auto", precision, memory, pixels) is expected
        assert recomputes(True, precision, memory, pixels) is True
        assert recomputes(False, precision, memory, pixels) is False


def test_a_cpu_computes_again_unless_told_otherwise():
    assert recomputes("auto", "32-true", None, PAPER) is True
    assert recomputes(False, "32-true", None, PAPER) is False


# ---- one kind of steps in a training -----------------------------------------------------------------


def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this CPU compile as ``training.compile`` lets a GPU."""
    monkeypatch.setattr(choices, "COMPILER", "aot_eager")
    monkeypatch.setattr(choices, "compiles", lambda training, device, steps: training.compile is True)


def test_true_on_a_cpu_is_told_and_left_aside(ixi, tmp_path, capsys):
    record = run(ixi, tmp_path, tiny_spec(training__compile=True, training__epochs=1))
    assert choices.NOT_COMPILED in capsys.readouterr().err.splitlines()
    assert choices.NOT_COMPILED in record["notes"]
    assert (record["compiled"], record["compile_seconds"], record["recompute"]) == (False, 0, True)
    eager = run(ixi, tmp_path / "eager", tiny_spec(training__compile=False, training__epochs=1))
    assert eager["notes"] == []


def test_a_compiled_training_goes_on_only_where_it_is_compiled_and_is_evaluated_anywhere(
    ixi, tmp_path, monkeypatch, capsys
):
    spec = tiny_spec(training__compile=True, training__batch_size=6, training__epochs=2)
    state = tmp_path / "resume" / "state.pt"
    with monkeypatch.context() as pretending:
        as_on_a_gpu(pretending)
        with pytest.raises(SystemExit):
            run(ixi, tmp_path, spec, StopAt(2))
    kept = state.read_bytes()
    with pytest.raises(BadInput) as refused:
        run(ixi, tmp_path, spec)
    assert str(refused.value).startswith(
        f"{state}: field compiled: is true, and this device compiles nothing"
    )
    assert state.read_bytes() == kept
    with monkeypatch.context() as pretending:
        as_on_a_gpu(pretending)
        record = run(ixi, tmp_path, spec)
    assert (record["compiled"], record["recompute"], record["notes"]) == (True, False, [])
    assert record["compile_seconds"] > 0
    ended = results(tmp_path)
    again = run(ixi, tmp_path, spec)
    assert "training is finished already; evaluating only" in capsys.readouterr().err
    assert results(tmp_path) == ended
    assert (again["compiled"], again["notes"]) == (True, [])


def test_a_training_that_began_on_a_cpu_is_not_compiled_half_way(ixi, tmp_path, monkeypatch):
    spec = tiny_spec(training__compile=True)
    with pytest.raises(SystemExit):
        run(ixi, tmp_path, spec, StopAt(4))
    with monkeypatch.context() as pretending:
        as_on_a_gpu(pretending)
        with pytest.raises(BadInput, match="field compiled: is false, and this device would compile it"):
            run(ixi, tmp_path, spec)
    assert run(ixi, tmp_path, spec)["restarts"] == 1
