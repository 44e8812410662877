"""What tests of training share."""

from pathlib import Path

import pytest
import torch
from tiny_runs import write_mask, write_splits


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ixi(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ixi")
    write_splits(folder)
    write_mask(folder)
    return folder


@pytest.fixture(scope="module")
def fastmri(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("fastmri")
    write_splits(folder, "fastmri")
    write_mask(folder, "fastmri")
    return folder
