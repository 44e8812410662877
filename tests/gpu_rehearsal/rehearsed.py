"""What the rehearsed trainings share: their specifications, and what must be true of them."""

from typing import Any

import torch
from tiny_runs import MASKS, tiny_spec
from torch.utils._python_dispatch import _disable_current_modes

from methods.registry import discover
from workflow.run.spec import RunSpec
from workflow.train.batches import Batch
from workflow.train.loop import Training

FOLDERS = discover()
TRAINED = sorted(name for name, folder in FOLDERS.items() if folder.default.trainable)
EPOCHS, BATCH = 2, 5


def spec_of(method: str, *, dataset: str = "ixi", **changes: Any) -> RunSpec:
    """A method, small, with all that a configuration may switch on for a GPU."""
    default = FOLDERS[method].default
    of_dataset = {"dataset": dataset, "mask": MASKS[dataset], "noise": 0.1 if dataset == "ixi" else 0.0}
    of_method = {"method": method, "folder": default.folder, "optimiser": dict(default.optimiser)}
    small = {"parameters": {**default.parameters, **default.small}}
    for_gpu = {"training__precision": "bf16-mixed", "training__channels_last": True}
    clipped = {"training__gradient_clip": 1.0, "training__epochs": EPOCHS, "training__batch_size": BATCH}
    return tiny_spec(**of_dataset | of_method | small | for_gpu | clipped | changes)


def on_gpu_as_wanted(training: Training) -> None:
    """Weights, gradients and the optimiser's state are on the GPU, all in the weights' types and order."""
    for name, weight in training.model.named_parameters():
        assert weight.device.type == "cuda", name
        assert weight.grad is not None, f"{name} gets no gradient"
        like = (weight.device, weight.dtype, weight.stride())
        assert (weight.grad.device, weight.grad.dtype, weight.grad.stride()) == like, name
    for name, value in training.model.named_buffers():
        assert value.device.type == "cuda", name
    for state in training.optimiser.state.values():
        for name, value in state.items():
            assert (value.device.type, value.dtype) == ("cuda", torch.float32), name


def compiled(training: Training, batch: Batch) -> int:
    """Trace network and loss, autocast as in training, as one graph; return how many operators it has.

    Raises:
        torch._dynamo.exc.Unsupported: the graph breaks.
    """
    graphs: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, _: Any) -> Any:
        """Stand in for a compiler: what it makes returns tensors as traced."""
        graphs.append(graph)
        (output,) = (node for node in graph.graph.nodes if node.op == "output")
        found = [value.meta["example_value"] for value in output.args[0]]
        return lambda *_: found

    torch.compiler.reset()
    step = torch.compile(training.learner.module.train(), backend=keep, fullgraph=True)
    # Torch compiles nothing below a dispatch mode; the tensors stay what they are.
    with _disable_current_modes(), torch.autocast("cuda", torch.bfloat16):
        step(batch)
    (graph,) = graphs
    return len(graph.graph.nodes)
