"""Embedded knees: fastMRI's form, reproducible to the byte, with oedema and motion as their truth says."""

import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from knee_phantom import maps, write_donor
from numpy.typing import NDArray

from data_prep.datasets import embed
from data_prep.datasets.fastmri import embedded as embedded_knee
from data_prep.datasets.fastmri import scans as fastmri
from data_prep.datasets.fastmri.dataset import pair_files
from data_prep.datasets.fastmri.embedded import (
    PD,
    PDFS,
    SimulatedScan,
    encoded_width,
    simulate_pair,
    write_pair,
    write_pair_lists,
)
from data_prep.datasets.fastmri.pairs import check_pair, check_splits, paired_slices, read_pair_list
from data_prep.errors import BadInput
from data_prep.fourier import ifft2c
from data_prep.io.command import call
from data_prep.phantom.knee import FIELD_OF_VIEW
from data_prep.phantom.knee_maps import donor_maps, load_maps

MATRIX, SLICES = 64, 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    write_pair(maps(), 3, 2022, MATRIX, SLICES, "train", folder)
    return folder


def images(scan: SimulatedScan, matrix: int) -> NDArray[np.float32]:
    return np.abs(fastmri.centre_crop(ifft2c(scan.kspace), (matrix, matrix)))


# ---- names ----------------------------------------------------------------------------------------


def test_pairs_have_names_of_their_own_outside_the_published_range() -> None:
    names = [name for index in range(300) for name in pair_files(index)]
    assert names[:2] == ["file9000000", "file9000001"]
    assert len(set(names)) == len(names)
    for pd, pdfs in zip(names[::2], names[1::2], strict=True):
        assert int(pd[4:]) % 2 == 0
        assert int(pdfs[4:]) % 2 == 1
        # One wildcard of the workflow names both.
        assert pd[:-1] == pdfs[:-1]


def test_pair_lists_name_each_pair_once_and_share_none(tmp_path: Path) -> None:
    write_pair_lists(8, 3, tmp_path)
    lists = {name: read_pair_list(tmp_path / f"{name}_pairs.csv") for name in ("train", "val")}
    check_splits(lists)
    assert [entry[:2] for entry in lists["train"] + lists["val"]] == [pair_files(i) for i in range(11)]
    assert len(lists["val"]) == 3


# ---- files ----------------------------------------------------------------------------------------


def test_files_have_the_published_form(written: Path) -> None:
    for stem, acquisition in zip(pair_files(3), (PD, PDFS), strict=True):
        with h5py.File(written / "singlecoil_train" / f"{stem}.h5") as file:
            assert set(file) == {"kspace", "reconstruction_esc", "reconstruction_rss", "ismrmrd_header"}
            assert file["kspace"].shape == (SLICES, 2 * MATRIX, encoded_width(MATRIX))
            assert file["kspace"].dtype == np.complex64
            for name in ("reconstruction_esc", "reconstruction_rss"):
                assert file[name].shape == (SLICES, MATRIX, MATRIX)
                assert file[name].dtype == np.float32
            image = file["reconstruction_esc"][()]
            assert file.attrs["acquisition"] == acquisition
            assert file.attrs["max"] == pytest.approx(image.max())
            assert file.attrs["norm"] == pytest.approx(np.linalg.norm(image))
            assert file.attrs["patient_id"] == "embedded-knee-00003"


def test_files_are_read_like_published_ones(written: Path) -> None:
    pd, pdfs = (fastmri.open_scan(written / "singlecoil_train" / f"{stem}.h5") for stem in pair_files(3))
    check_pair(pd, pdfs)
    assert paired_slices(pd, pdfs) == (0, SLICES)
    assert pd.header.recon_field_of_view == (FIELD_OF_VIEW, FIELD_OF_VIEW)
    assert fastmri.read_images(pd, 0, SLICES).any()


def test_padding_columns_are_zero_and_all_others_are_measured(written: Path) -> None:
    scan = fastmri.open_scan(written / "singlecoil_train" / f"{pair_files(3)[0]}.h5")
    left, right = scan.header.padding_left, scan.header.padding_right
    assert 0 < left < right < encoded_width(MATRIX)
    with h5py.File(scan.path) as file:
        acquired = (file["kspace"][()] != 0).all(axis=(0, 1))
    assert np.array_equal(np.flatnonzero(acquired), np.arange(left, right))


def test_the_published_size_is_the_default() -> None:
    assert encoded_width(320) == 368
    for matrix in (32, 34, 38, 60, 320):
        # Odd sizes of the fine grid would move the centre.
        pd, _, _, _ = simulate_pair(maps(1), 0, 1, matrix, 1)
        assert pd.kspace.shape == (1, 2 * matrix, encoded_width(matrix))


def test_the_same_pair_has_the_same_bytes_and_others_do_not(written: Path, tmp_path: Path) -> None:
    def digests(folder: Path) -> list[str]:
        files = sorted((folder / "singlecoil_train").glob("*.h5"))
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]

    for name, index, seed in (("again", 3, 2022), ("index", 4, 2022), ("seed", 3, 2023)):
        write_pair(maps(), index, seed, MATRIX, SLICES, "train", tmp_path / name)
    again, index, seed = (digests(tmp_path / name) for name in ("again", "index", "seed"))
    assert again == digests(written)
    assert not {*index, *seed} & {*again}


# ---- content --------------------------------------------------------------------------------------


def test_the_whole_knee_is_seen_at_any_matrix() -> None:
    small, large = (images(simulate_pair(maps(), 2, 7, matrix, SLICES)[0], matrix) for matrix in (48, 96))
    reduced = large.reshape(SLICES, 48, 2, 48, 2).mean(axis=(2, 4))
    assert np.corrcoef(small.ravel(), reduced.ravel())[0, 1] > 0.97
    # The unit of intensity does not depend on the matrix either.
    assert np.median(small) == pytest.approx(np.median(reduced), rel=0.15)


def test_oedema_is_bright_in_pdfs_only() -> None:
    contrasts: dict[str, list[float]] = {PD: [], PDFS: []}
    for index in range(6):
        pd, pdfs, motion, lesions = simulate_pair(maps(), index, 2022, 96, SLICES)
        assert lesions
        to_pd = embedded_knee.motion_matrix(motion, 96)
        for lesion in lesions:
            for scan, place in (
                (pdfs, (lesion.row, lesion.column)),
                (pd, (to_pd @ [lesion.slice, lesion.row, lesion.column, 1])[1:3]),
            ):
                image = images(scan, 96)[lesion.slice]
                row, column = np.indices(image.shape)
                distance = np.hypot(row - place[0], column - place[1]) * FIELD_OF_VIEW / 96 / lesion.radius
                # Marrow of the phantom is alike all around; medians pass over the lesion's neighbours.
                inside, around = image[distance < 0.4], image[(distance > 1.6) & (distance < 2.2)]
                contrasts[scan.acquisition].append(float(np.median(inside) / np.median(around)))
    assert np.median(contrasts[PDFS]) > 1.5
    assert np.median(contrasts[PD]) == pytest.approx(1, abs=0.2)


def test_fat_is_bright_in_pd_and_dark_in_pdfs() -> None:
    pd, pdfs, _, _ = simulate_pair(maps(), 1, 2022, 64, SLICES)
    bright = images(pd, 64) > np.percentile(images(pd, 64), 85)
    assert images(pdfs, 64)[bright].mean() < 0.6 * images(pdfs, 64)[~bright].max()
    assert images(pdfs, 64)[bright].mean() < 0.5 * images(pd, 64)[bright].mean()


def test_scans_of_a_pair_differ_in_phase_and_noise() -> None:
    pd, pdfs, _, _ = simulate_pair(maps(), 1, 2022, 64, SLICES)
    outside = [ifft2c(scan.kspace)[:, :8] for scan in (pd, pdfs)]
    correlation = np.abs(np.vdot(*outside)) / np.prod([np.linalg.norm(noise) for noise in outside])
    assert correlation < 0.1
    phases = [np.angle(ifft2c(scan.kspace)[0, 64, 30:44]) for scan in (pd, pdfs)]
    assert np.ptp(np.unwrap(phases[0])) > 0.01
    assert np.abs(phases[0] - phases[1]).max() > 0.1


def test_outer_kspace_is_more_than_noise() -> None:
    pd, _, _, _ = simulate_pair(maps(), 5, 2022, 96, SLICES)
    # The readout's ends see no tissue: the noise of one image pixel is that of one k-space sample.
    noise = (np.abs(ifft2c(pd.kspace)[:, :16]) ** 2).mean()
    width = encoded_width(96)
    outer = (np.abs(pd.kspace[:, 48:144, width // 10 : width // 5]) ** 2).mean()
    assert outer > 3 * noise


def test_motion_is_about_a_pixel_and_differs_between_pairs() -> None:
    motions = [
        embedded_knee._draw_motion(np.random.default_rng(embedded_knee.seed_for(pair=index)))
        for index in range(200)
    ]
    shifts = np.array([motion.shift for motion in motions])
    assert 0.5 < np.hypot(*shifts.T).mean() < 2
    assert np.abs([motion.rotation for motion in motions]).max() < 3
    assert all(one != other for one, other in pairwise(motions))


def test_the_truth_file_names_motion_and_oedema(written: Path) -> None:
    pd, pdfs = pair_files(3)
    path = written / "truth" / "singlecoil_train" / f"{pdfs}.truth.json"
    truth = json.loads(path.read_text())
    _, _, motion, lesions = simulate_pair(maps(), 3, 2022, MATRIX, SLICES)
    assert (truth["auxiliary"], truth["subject"], truth["matrix"]) == (pd, pdfs, MATRIX)
    assert truth["shift_pixels"] == list(motion.shift)
    assert len(truth["oedema"]) == len(lesions)
    # The centre pixel only shifts.
    centre = np.array([0, MATRIX // 2, MATRIX // 2, 1])
    moved = np.array(truth["transform"]) @ centre - centre
    np.testing.assert_allclose(moved[1:3], truth["shift_pixels"], atol=1e-9)


# ---- donor ----------------------------------------------------------------------------------------


def test_maps_are_recovered_from_echoes() -> None:
    truth = maps(4)
    times = 6.312 * np.arange(1, 9)
    decay = np.exp(-times[:, None, None] * truth["R2"][:, None])
    rng = np.random.default_rng(0)
    echoes = 4000 * truth["M0"][:, None] * decay
    echoes = np.hypot(echoes + rng.normal(0, 15, echoes.shape), rng.normal(0, 15, echoes.shape))
    found = donor_maps(echoes.astype(np.float32), times)
    inner = slice(40, -40)
    muscle, fat = ((truth["M0"] == np.float32(m0))[:, inner] for m0 in (0.5, 0.9))
    assert np.median(found["R2"][:, inner][muscle]) == pytest.approx(1 / 36, rel=0.05)
    assert np.median(found["M0"][:, inner][fat]) == pytest.approx(0.9, rel=0.05)
    assert np.median(found["fat_fraction"][:, inner][muscle]) < 0.1
    assert np.median(found["fat_fraction"][:, inner][fat]) > 0.9
    # Air has nothing to fit; it must not become bright.
    assert found["M0"][truth["M0"] == 0].max() < 0.1
    assert all(np.isfinite(volume).all() for volume in found.values())


@pytest.mark.parametrize(
    ("matrix", "slices", "said"),
    [(65, 2, "matrix 65"), (16, 2, "matrix 16"), (64, 0, "slices 0"), (64, 7, "donor knee has 6")],
)
def test_impossible_sizes_are_refused(matrix: int, slices: int, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        simulate_pair(maps(), 0, 1, matrix, slices)


def test_a_missing_or_foreign_donor_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"knee.npz: the donor's maps are missing"):
        load_maps(tmp_path)
    np.savez(tmp_path / "knee.npz", M0=np.zeros(3))
    with pytest.raises(BadInput, match=r"knee.npz: `R2` is missing"):
        load_maps(tmp_path)
    whole = (tmp_path / "knee.npz").read_bytes()
    for torn in (whole[:-50], b"", b"text"):
        (tmp_path / "knee.npz").write_bytes(torn)
        with pytest.raises(
            BadInput, match=r"knee.npz: it is truncated .*; delete it and run data_prep.phantom.donors"
        ):
            load_maps(tmp_path)


def test_the_command_writes_one_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    donors, output = write_donor(tmp_path / "donors"), tmp_path / "raw"
    options = f"--donors {donors} --index 1 --seed 5 --matrix 48 --slices 2 --output {output}"
    command = ["embed", "--dataset", "fastmri", *options.split(), "--options", '{"split": "val"}']
    monkeypatch.setattr(sys, "argv", command)
    call(embed.main)
    written = sorted(path.relative_to(output).as_posix() for path in output.rglob("*.*"))
    assert written == [
        "singlecoil_val/file9000010.h5",
        "singlecoil_val/file9000011.h5",
        "truth/singlecoil_val/file9000011.truth.json",
    ]


def test_the_command_says_which_options_a_mode_needs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    size = ["--donors", str(tmp_path), "--index", "1", "--seed", "5", "--matrix", "48", "--slices", "2"]
    for options, said in (
        (["--lists", '{"train": 8, "val": 2}'], "--lists: field test is missing"),
        (size, "--options: field split is missing"),
        ([*size, "--options", '{"split": "val", "pool": 1}'], "--options: field pool is unknown"),
    ):
        monkeypatch.setattr(sys, "argv", ["embed", "--dataset", "fastmri", "--output", "x", *options])
        with pytest.raises(BadInput, match=said):
            call(embed.main)
    monkeypatch.setattr(sys, "argv", ["embed", "--dataset", "fastmri", "--output", "x", "--index", "1"])
    with pytest.raises(SystemExit):
        call(embed.main)
    assert "--donors" in capsys.readouterr().err


def test_the_command_writes_the_pair_lists_of_the_splits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = '{"train": 6, "val": 2, "test": 3}'
    command = ["embed", "--dataset", "fastmri", "--lists", splits, "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", command)
    call(embed.main)
    lists = {name: read_pair_list(tmp_path / f"{name}_pairs.csv") for name in ("train", "val")}
    assert [len(entries) for entries in lists.values()] == [8, 3]
