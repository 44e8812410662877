"""The GPUs of the machine as its driver knows them, without torch, which may know less."""

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from data_prep.errors import BadInput

LEASED = "GPU_LEASED"  # in the environment of a command: the devices of its lease


@dataclass(frozen=True)
class Device:
    """One GPU (or one MIG slice of a GPU).

    Attributes:
        name: what CUDA_VISIBLE_DEVICES calls it, e.g. ``0`` or ``GPU-8932f937``.
        identity: what it is called by everybody, hence the name of its lock, e.g. its UUID.
    """

    name: str
    identity: str


def parse_device_list(text: str) -> list[Device]:
    """Read the output of ``nvidia-smi -L``; a GPU that is split (MIG) counts as its slices.

    GPUs keep their number, which counts by PCI bus; slices can be addressed by UUID only.
    """
    devices: list[Device] = []
    whole: Device | None = None
    for line in text.splitlines():
        if match := re.match(r"GPU (\d+): .*\(UUID: (\S+)\)", line):
            whole = Device(match[1], match[2])
            devices.append(whole)
        elif match := re.match(r"\s+MIG .*\(UUID: (\S+)\)", line):
            if whole in devices:
                devices.remove(whole)
            devices.append(Device(match[1], match[1]))
    return devices


def machine_devices(environment: Mapping[str, str]) -> list[Device]:
    """Return the machine's GPUs in PCI order; none where there is no working ``nvidia-smi``."""
    pretended = environment.get("GPU_LEASE_DEVICES")
    if pretended is not None:
        return [Device(name, name) for name in pretended.split(",") if name]
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    if listing.returncode != 0:
        reason = " ".join((listing.stdout + listing.stderr).split())
        print(f"nvidia-smi finds no GPU ({reason}); running without one", file=sys.stderr, flush=True)
        return []
    return parse_device_list(listing.stdout)


def visible_devices(devices: list[Device], visible: str | None) -> list[Device]:
    """Return the devices that an already set CUDA_VISIBLE_DEVICES leaves, under the names it uses.

    Raises:
        BadInput: it names a device that the machine, which has others, does not have.
    """
    if visible is None or not devices:
        return devices
    chosen = []
    for name in visible.split(","):
        name = name.strip()
        if name in ("", "-1", "NoDevFiles"):
            # As in CUDA: the list ends at the first invalid entry.
            break
        found = [d for d in devices if d.name == name]
        if not found and not name.isdigit():
            # CUDA accepts the beginning of a UUID.
            found = [d for d in devices if d.identity.startswith(name)]
        if len(found) != 1:
            known = ", ".join(d.name for d in devices) or "none"
            raise BadInput(
                f"CUDA_VISIBLE_DEVICES: {name!r} is not one GPU of this machine (known: {known}); "
                "correct or unset it"
            )
        chosen.append(Device(name, found[0].identity))
    return chosen
