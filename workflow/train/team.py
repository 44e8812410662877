"""The processes that train together by DDP, each with a device of its own; mostly there is only one."""

import os
from dataclasses import dataclass

import torch.distributed
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import Tensor, nn

from data_prep.errors import BadInput
from methods.contract import ReconstructionModel
from workflow.run.spec import Precision
from workflow.train.batches import has_batch_norm
from workflow.train.progress import say

# Set by the import of Fabric: torch would take any GPU that the driver knows for one that CUDA can start on.
os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)


@dataclass(frozen=True)
class Team:
    """How many processes train together, and which of them this is; the others are in the default group.

    Attributes:
        size: number of processes.
        rank: this one's number, from 0. Only the first writes files and says anything.
    """

    size: int = 1
    rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.size == 1

    def fabric(self, device: torch.device, precision: Precision) -> Fabric:
        """Return what sets up network and optimiser for all processes."""
        fabric = Fabric(
            accelerator=device.type,
            devices=self.size,
            # Buffers are batch statistics, which are joined already.
            strategy="auto" if self.alone else DDPStrategy(forward_sync_buffers=False),
            precision=precision,
            # No other processes than ours, also inside a cluster's job that Fabric would recognise by itself.
            plugins=LightningEnvironment(),
        )
        if not self.alone:
            fabric.launch()
        return fabric

    def joined(self, model: ReconstructionModel, device: torch.device, method: str) -> ReconstructionModel:
        """Return a network whose batch statistics are those of all processes.

        Raises:
            BadInput: it has batch normalisation, and several processes train on a CPU.
        """
        if self.alone or not has_batch_norm(model):
            return model
        if device.type == "cpu":
            raise BadInput(
                f"training.devices: {self.size} on a CPU is not for {method}: only GPUs can join "
                "its batch normalisation; set devices to 1, or train on GPUs"
            )
        joined: ReconstructionModel = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return joined

    def sum(self, values: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place."""
        if not self.alone:
            torch.distributed.all_reduce(values)
        return values

    def named(self, device: torch.device) -> str:
        """Name the devices of all processes, given this one's."""
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
        return name if self.alone else f"{self.size} x {name}"

    def say(self, text: str) -> None:
        """Print a line of progress, once for all processes."""
        if self.leads:
            say(text)
