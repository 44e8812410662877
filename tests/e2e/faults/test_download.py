"""IXI, downloaded from a server with the faults of real ones, through Snakemake to prepared data."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
import pytest
from flaky_server import Server, serving
from workspace import Workspace

MODALITIES = ("T1", "T2")
RESULTS = Path("results/downloaded")
MANIFEST = f"{RESULTS}/data/ixi/manifest.csv"


def packed(folder: Path) -> bytes:
    """The tiny experiment's scans, which have IXI's form, as the published archives hold them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for scan in sorted(folder.iterdir()):
            archive.add(scan, scan.name)
    return stream.getvalue()


@pytest.fixture
def server(finished: Workspace) -> Iterator[Server]:
    raw = finished.place("raw", "ixi")
    files = {f"/IXI-{modality}.tar": packed(raw / f"IXI-{modality}") for modality in MODALITIES}
    with serving(Server(files)) as server:
        yield server


def configured(workspace: Workspace, server: Server) -> Path:
    def change(content: Any) -> None:
        content |= {"experiment": "downloaded", "tables": [1], "figures": [], "bad_scans": "exclude"}
        del content["datasets"]["fastmri"]
        ixi = content["datasets"]["ixi"]
        del ixi["acquired_slices"]
        ixi |= {
            "source": "published",
            "root": "scans/IXI",
            "download": True,
            "archives": {
                modality: {
                    "url": f"{server.address}/IXI-{modality}.tar",
                    "md5": hashlib.md5(server.files[f"/IXI-{modality}.tar"]).hexdigest(),
                }
                for modality in MODALITIES
            },
        }

    return workspace.configure(change)


@pytest.mark.long
def test_scans_come_through_all_faults_of_the_network_and_are_prepared(
    fresh: Workspace, finished: Workspace, server: Server
) -> None:
    config = configured(fresh, server)
    ahead = fresh.run(MANIFEST, config=config)
    assert ahead.status != 0
    assert "run the target `fetch` first" in ahead.output
    assert ahead.jobs == set()

    # T1: busy, then cut in the middle, then complete. T2: another file than the checksum was taken from.
    right = server.files["/IXI-T2.tar"]
    wrong = bytearray(right)
    wrong[len(wrong) // 2] ^= 1
    server.files["/IXI-T2.tar"] = bytes(wrong)
    server.statuses, server.break_after = [503], [40_000]
    outcome = fresh.run("fetch", config=config)
    assert outcome.status != 0
    assert outcome.sentence.startswith(f"{server.address}/IXI-T2.tar: the file's MD5 is ")
    assert server.asked[:3] == [None, None, "bytes=40000-"]
    scans = fresh.path("scans/IXI")
    assert {path.name for path in scans.iterdir() if path.name[0] != "."} == {"IXI-T1"}

    # Only what is missing is asked for.
    server.files["/IXI-T2.tar"] = right
    server.asked.clear()
    assert fresh.complete("fetch", config=config).rules == {"fetch_scans": 1}
    assert server.asked == [None]
    record = json.loads((fresh.place("raw", "ixi") / "fetched.json").read_text())
    assert record["T2"]["from"] == f"{server.address}/IXI-T2.tar"
    assert record["T1"]["scans"] == record["T2"]["scans"] == 4

    outcome = fresh.complete(MANIFEST, config=config)
    assert outcome.rules == {"align": 4, "prepare": 1, "places": 1}
    manifest = pd.read_csv(fresh.path(MANIFEST))
    assert set(manifest["source"]) == {"published"}
    assert set(manifest["status"]) == {"ok"}
    # The same scans, so the same splits and the same bits as those that were never on the way.
    for split in ("train", "val", "test"):
        with (
            h5py.File(fresh.place("data", "ixi") / f"{split}.h5") as ours,
            h5py.File(finished.place("data", "ixi") / f"{split}.h5") as theirs,
        ):
            assert ours.attrs["fingerprint"] == theirs.attrs["fingerprint"]
