"""fastMRI files are read as published, and what is wrong with a file or a list is said in one sentence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from knee_phantom import HEADER, write_published

from data_prep.datasets.fastmri.pairs import (
    PairEntry,
    check_pair,
    check_splits,
    pair_list_text,
    paired_slices,
    read_pair_list,
)
from data_prep.datasets.fastmri.scans import (
    PD,
    PDFS,
    centre_crop,
    open_scan,
    parse_header,
    read_images,
    remarks,
    signal_in_padding,
)
from data_prep.errors import BadInput
from data_prep.registration.in_plane import rigid_in_plane


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return write_published(tmp_path / "file1000001.h5")


# ---- one file -------------------------------------------------------------------------------------


def test_a_published_file_gives_its_complex_crop(published: Path) -> None:
    scan = open_scan(published)
    images = read_images(scan, 0, scan.slices)
    assert (scan.acquisition, scan.patient_id, scan.slices) == (PD, "a patient", 4)
    assert images.shape == (4, 12, 12)
    assert images.dtype == np.complex64
    with h5py.File(published) as file:
        # Written from images drawn at random, not by the code under test.
        np.testing.assert_allclose(np.abs(images), file["reconstruction_esc"][()], atol=1e-5)


def test_only_the_wanted_slices_are_read(published: Path) -> None:
    scan = open_scan(published)
    with h5py.File(published, "r+") as file:
        file["kspace"][0] = np.nan
    assert read_images(scan, 1, 3).shape == (2, 12, 12)


def test_header_gives_geometry_and_acquired_columns() -> None:
    header = parse_header(HEADER.encode(), Path("a.h5"))
    assert header.encoded_matrix == (24, 20)
    assert header.recon_matrix == (12, 12)
    assert header.encoded_field_of_view == (240, 200)
    assert header.recon_field_of_view == (120, 120)
    # 20 // 2 - 8, and 2 + 16 + 1.
    assert (header.padding_left, header.padding_right) == (2, 19)


def test_centre_crop_takes_rows_and_columns_about_the_centre() -> None:
    image = np.arange(640 * 368).reshape(640, 368)
    assert np.array_equal(centre_crop(image, (320, 320)), image[160:480, 24:344])


@pytest.mark.parametrize("width", [368, 372, 402])
def test_any_published_width_is_cropped_to_320(tmp_path: Path, width: int) -> None:
    rng = np.random.default_rng(width)
    path = tmp_path / "file1000002.h5"
    kspace = np.zeros((1, 640, width), np.complex64)
    kspace[..., 4:-4] = rng.standard_normal((1, 640, width - 8)) + 1j
    # An independent transform: the sum that defines it, along each axis in turn.
    n, m = np.arange(640) - 320, np.arange(width) - width // 2
    rows = np.exp(2j * np.pi * np.outer(np.arange(160, 480) - 320, n) / 640) / np.sqrt(640)
    left = (width - 320) // 2
    columns = np.exp(2j * np.pi * np.outer(m, np.arange(left, left + 320) - width // 2) / width)
    image = rows @ kspace[0] @ columns / np.sqrt(width)
    sizes = ((24, 640), (20, width), (12, 320), (8, width // 2 - 4), (16, width - 9))
    text = HEADER
    for old, new in sizes:
        text = text.replace(f">{old}<", f">{new}<")
    with h5py.File(path, "w") as file:
        file["kspace"], file["ismrmrd_header"] = kspace, text
        file["reconstruction_esc"] = np.abs(image)[None].astype(np.float32)
        file.attrs.update(acquisition=PD, patient_id="p")
    scan = open_scan(path)
    assert (scan.header.padding_left, scan.header.padding_right) == (4, width - 4)
    np.testing.assert_allclose(read_images(scan, 0, 1)[0], image, atol=2e-5)
    assert signal_in_padding(scan, 0, 1) == []


def test_a_header_that_does_not_describe_its_data_is_remarked(published: Path, tmp_path: Path) -> None:
    assert remarks(open_scan(published)) == []
    header("<x>24</x><y>20</y>", "<x>24</x><y>22</y>")(published)
    said = "; ".join(remarks(open_scan(published)))
    assert "file1000001.h5: k-space is 24 x 20, the header encodes 24 x 22" in said
    assert "pixels along columns are 9.091 mm by the encoded space, 10 mm by the reconstructed one" in said
    # Columns cannot be placed by a header of another width.
    assert signal_in_padding(open_scan(published), 0, 4) == []


@pytest.mark.parametrize(
    ("center", "maximum", "columns"), [(11, 16, "-1:16"), (8, 19, "2:22"), (8, -9, "2:-6"), (0, 16, "10:27")]
)
def test_acquired_columns_outside_the_matrix_are_remarked_and_cost_no_pair(
    published: Path, center: int, maximum: int, columns: str
) -> None:
    before = read_images(open_scan(published), 0, 4)
    limits = f"<maximum>{maximum}</maximum><center>{center}</center>"
    header("<maximum>16</maximum><center>8</center>", limits)(published)
    scan = open_scan(published)
    said = f"file1000001.h5: the header puts the acquired columns at {columns}, outside its matrix of 20"
    assert remarks(scan) == [said]
    # What the header says of them places nothing: neither the images nor where no signal may be.
    assert signal_in_padding(scan, 0, 4) == []
    assert np.array_equal(read_images(scan, 0, 4), before)


def test_signal_in_columns_that_were_never_acquired_is_remarked(published: Path) -> None:
    scan = open_scan(published)
    assert "k-space columns outside 2:19, never acquired, are not zero" in signal_in_padding(scan, 0, 4)[0]
    with h5py.File(published, "r+") as file:
        file["kspace"][1:, :, :2] = 0
        file["kspace"][1:, :, 19:] = 0
    assert signal_in_padding(scan, 1, 4) == []
    assert signal_in_padding(scan, 0, 1) != []


def test_links_to_other_files_are_no_data(published: Path, tmp_path: Path) -> None:
    other = write_published(tmp_path / "other.h5")
    with h5py.File(published, "r+") as file:
        del file["kspace"]
        file["kspace"] = h5py.ExternalLink(str(other), "kspace")
    with pytest.raises(BadInput, match=r"file1000001\.h5: dataset kspace is missing"):
        open_scan(published)


@pytest.mark.parametrize("shape", [(2**40, 24, 20), (4, 2**20, 2**20), (2000, 24, 20)])
def test_a_damaged_size_asks_for_no_memory(published: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(published, "r+") as file:
        del file["kspace"]
        file.create_dataset("kspace", shape, np.complex64, chunks=(1, 24, 20), compression="gzip")
    with pytest.raises(BadInput, match=r"file1000001\.h5: dataset kspace of shape .* larger than any"):
        open_scan(published)


def test_a_damaged_chunk_size_asks_for_no_memory(published: Path) -> None:
    with h5py.File(published, "r+") as file:
        del file["kspace"]
        chunks = (900, 640, 368)
        file.create_dataset("kspace", chunks, np.complex64, chunks=chunks, compression="gzip")
    with pytest.raises(BadInput, match=r"file1000001\.h5: dataset kspace of shape .* larger than any"):
        open_scan(published)


def test_an_endless_header_is_refused(published: Path) -> None:
    put("ismrmrd_header", HEADER + " " * 2**20)(published)
    with pytest.raises(BadInput, match=r"file1000001\.h5: ismrmrd_header has 1049"):
        open_scan(published)


def change(action: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    """A way to spoil a file."""

    def spoil(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            action(file)

    return spoil


def put(name: str, value: object) -> Callable[[Path], None]:
    """Replace a dataset, or remove it where ``value`` is None."""

    def action(file: h5py.File) -> None:
        del file[name]
        if value is not None:
            file[name] = value

    return change(action)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def header(old: str, new: str) -> Callable[[Path], None]:
    assert old in HEADER
    return put("ismrmrd_header", HEADER.replace(old, new))


BOMB = (
    "<!DOCTYPE a [<!ENTITY b0 'boom'>"
    + "".join(f"<!ENTITY b{i} '{f'&b{i - 1};' * 10}'>" for i in range(1, 10))
    + "]><ismrmrdHeader>&b9;</ismrmrdHeader>"
)
ENTITY = '<!DOCTYPE a [<!ENTITY b "c">]><ismrmrdHeader'


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda path: path.unlink(), "missing"),
        (lambda path: path.write_text("not HDF5"), "no HDF5 file"),
        (truncate, "truncated"),
        (put("kspace", None), "kspace is missing"),
        (put("kspace", np.ones((4, 24, 20), np.complex128)), "kspace is complex128"),
        (put("kspace", np.ones((24, 20), np.complex64)), r"shape \(24, 20\)"),
        (put("kspace", np.ones((0, 24, 20), np.complex64)), r"shape \(0, 24, 20\)"),
        (put("kspace", np.ones((4, 24, 10), np.complex64)), "smaller than the reconstructed matrix"),
        (put("reconstruction_esc", None), "reconstruction_esc is missing"),
        (put("reconstruction_esc", np.ones((4, 11, 12), np.float32)), r"shape \(4, 11, 12\)"),
        (put("ismrmrd_header", None), "ismrmrd_header .* is missing"),
        (put("ismrmrd_header", 3.0), "ismrmrd_header .* is missing"),
        (put("ismrmrd_header", "<ismrmrdHeader>"), "ismrmrd_header is not XML"),
        (header("<ismrmrdHeader", ENTITY), "document type"),
        (put("ismrmrd_header", BOMB), "document type"),
        (put("ismrmrd_header", "<a>" * 200_000), "not XML"),
        (header("<center>8</center>", ""), "encodingLimits/kspace_encoding_step_1/center .* is missing"),
        (header("<center>8</center>", "<center>eight</center>"), "is 'eight', not a number"),
        (
            header("<maximum>16</maximum>", "<maximum>16.5</maximum>"),
            "maximum .* is 16.5, not a whole number",
        ),
        # As it stands there: rounded, it would be a whole number.
        (header("<x>12</x><y>12</y>", "<x>12</x><y>11.99999999</y>"), "is 11.99999999, not a whole number"),
        (header("<x>12</x><y>12</y>", "<x>12</x><y>0</y>"), "is 0, not from 1 to 1048576"),
        (header("<x>12</x><y>12</y>", "<x>12</x><y>1048577</y>"), "is 1048577, not from 1 to 1048576"),
        (header("<x>240</x>", "<x>-240</x>"), "encodedSpace/fieldOfView_mm/x .* not a positive number"),
        (header("<x>240</x>", "<x>nan</x>"), "encodedSpace/fieldOfView_mm/x .* is 'nan', not a number"),
        (header("<x>240</x>", "<x>2_40</x>"), "encodedSpace/fieldOfView_mm/x .* is '2_40', not a number"),
        (header("<x>240</x>", "<x>1e999</x>"), "encodedSpace/fieldOfView_mm/x .* not a positive number"),
        (header("http://www.ismrm.org/ISMRMRD", "http://example.org"), "is missing"),
        (change(lambda file: file.create_dataset("mask", data=np.ones(20, bool))), "`mask`"),
        (change(lambda file: file.attrs.update(acquisition="AXT2")), "acquisition is 'AXT2'"),
        (change(lambda file: file.attrs.pop("acquisition")), "acquisition .* is missing"),
        (change(lambda file: file.attrs.pop("patient_id")), "patient_id .* is missing"),
    ],
)
def test_a_broken_file_is_named_with_its_field(
    published: Path, spoil: Callable[[Path], None], said: str
) -> None:
    spoil(published)
    with pytest.raises(BadInput, match=said) as error:
        open_scan(published)
    assert str(published) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("dataset", "value", "said"),
    [
        ("kspace", np.nan, "kspace, slice 2, holds NaN"),
        ("kspace", np.inf, "kspace, slice 2, holds NaN"),
        ("reconstruction_esc", np.nan, "reconstruction_esc, slice 2, is not the magnitude"),
    ],
)
def test_broken_values_are_found_when_slices_are_read(
    published: Path, dataset: str, value: float, said: str
) -> None:
    with h5py.File(published, "r+") as file:
        file[dataset][2, 5, 5] = value
    with pytest.raises(BadInput, match=said):
        read_images(open_scan(published), 0, 4)


@pytest.mark.parametrize("shift", [(1, 0), (0, 1)])
def test_a_reconstruction_off_by_one_pixel_is_noticed(published: Path, shift: tuple[int, int]) -> None:
    with h5py.File(published, "r+") as file:
        file["reconstruction_esc"][...] = np.roll(file["reconstruction_esc"][()], shift, axis=(1, 2))
    with pytest.raises(BadInput, match="reconstruction_esc"):
        read_images(open_scan(published), 0, 4)


def test_slices_without_any_signal_are_refused(published: Path) -> None:
    with h5py.File(published, "r+") as file:
        file["kspace"][...] = 0
        file["reconstruction_esc"][...] = 0
    with pytest.raises(BadInput, match="kspace is zero"):
        read_images(open_scan(published), 0, 4)


def test_data_damaged_within_the_file_end_in_one_sentence(tmp_path: Path) -> None:
    path = write_published(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        stored = file["kspace"][()]
        del file["kspace"]
        file.create_dataset("kspace", data=stored, chunks=(1, 24, 20), compression="gzip")
        place = file["kspace"].id.get_chunk_info(2).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    with pytest.raises(BadInput, match="truncated or no HDF5"):
        read_images(open_scan(path), 0, 4)


# ---- pairs of files -------------------------------------------------------------------------------


def pair(folder: Path, **changes: Any) -> tuple[Path, Path]:
    write_published(folder / "pd.h5", PD)
    write_published(folder / "pdfs.h5", PDFS, **changes)
    return folder / "pd.h5", folder / "pdfs.h5"


def test_slices_are_paired_up_to_the_shorter_volume(tmp_path: Path) -> None:
    pd, pdfs = (open_scan(path) for path in pair(tmp_path, slices=7))
    check_pair(pd, pdfs)
    assert paired_slices(pd, pdfs) == (0, 4)
    assert paired_slices(pdfs, pd, 2) == (1, 3)
    for wanted in (0, 5):
        with pytest.raises(BadInput, match="shares 4 slices"):
            paired_slices(pd, pdfs, wanted)


def test_scans_in_the_wrong_column_are_refused(tmp_path: Path) -> None:
    pd, pdfs = (open_scan(path) for path in pair(tmp_path))
    with pytest.raises(BadInput, match=r"pdfs.h5: attribute acquisition is CORPDFS_FBK.* first column"):
        check_pair(pdfs, pd)
    with pytest.raises(BadInput, match=r"pd.h5: .* second column"):
        check_pair(pd, pd)


def test_scans_of_different_field_of_view_or_matrix_are_refused(tmp_path: Path) -> None:
    wider = HEADER.replace("<x>120</x><y>120</y>", "<x>122</x><y>120</y>")
    with pytest.raises(BadInput, match="field of view"):
        check_pair(*(open_scan(path) for path in pair(tmp_path, header=wider)))
    path = write_published(tmp_path / "small.h5", PDFS)
    with h5py.File(path, "r+") as file:
        small = file["reconstruction_esc"][:, 1:-1, 1:-1]
        del file["reconstruction_esc"], file["ismrmrd_header"]
        file["reconstruction_esc"] = small
        file["ismrmrd_header"] = HEADER.replace("<x>12</x><y>12</y>", "<x>10</x><y>10</y>")
    with pytest.raises(BadInput, match=r"matrix \(12, 12\) is not that of small.h5"):
        check_pair(open_scan(tmp_path / "pd.h5"), open_scan(path))


# ---- pair lists -----------------------------------------------------------------------------------


def test_a_pair_list_is_read_as_published(tmp_path: Path) -> None:
    path = tmp_path / "singlecoil_train_split_less.csv"
    path.write_text("file1000685,file1000568,0.301723929779229\nfile1000476, file1000477 ,1e-3\n\n")
    assert read_pair_list(path) == [
        ("file1000685", "file1000568", 0.301723929779229),
        ("file1000476", "file1000477", 0.001),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("file3,file4", "line 2: it has 2 fields"),
        ("PDfile,PDFSfile,score", "line 2: score is 'score'.*header row"),
        ("file3,,0.5", "line 2: PDFS file is ''"),
        ("train/file3,file4,0.5", "line 2: PD file is 'train/file3'"),
        ("..,file4,0.5", "line 2: PD file is '..'"),
        ("file3,file4.h5,0.5", "line 2: PDFS file is 'file4.h5'"),
        ("file3,file3,0.5", "line 2: file3 is paired with itself"),
        ("file3,file2,0.5", "line 2: file2 is paired already in line 1"),
        ('file3,"file4,0.5', "line 2: it has 2 fields"),
    ],
)
def test_a_broken_line_of_a_pair_list_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(f"file1,file2,0.5\n{line}\n")
    with pytest.raises(BadInput, match=said):
        read_pair_list(path)


def test_a_missing_an_empty_and_a_binary_pair_list_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    for content, said in ((None, "missing"), (b"", "empty"), (b"\xff\xfe\x00", "not CSV text")):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(BadInput, match=said):
            read_pair_list(path)


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**7).map("file{}".format), st.floats(allow_nan=False, allow_infinity=False)
        ),
        min_size=1,
        unique_by=lambda pair: pair[0],
    )
)
def test_a_written_pair_list_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, float]]
) -> None:
    entries = [PairEntry("pd", stem, score) for stem, score in pairs]
    path = tmp_path_factory.mktemp("lists") / "pairs.csv"
    path.write_text(pair_list_text(entries))
    assert read_pair_list(path) == entries


def test_a_file_in_two_splits_is_refused() -> None:
    train = [PairEntry("file1", "file2", 0.5), PairEntry("file1", "file3", 0.5)]
    check_splits({"train": train, "val": [PairEntry("file4", "file5", 0.5)]})
    with pytest.raises(BadInput, match="file1 is in the pair lists of two splits, train and val"):
        check_splits({"train": train, "val": [PairEntry("file1", "file5", 0.5)]})


# ---- transform ------------------------------------------------------------------------------------


def test_an_in_plane_transform_turns_about_the_centre_and_shifts() -> None:
    matrix = rigid_in_plane(np.pi / 2, (1.0, -2.0), (10, 20))
    # The centre only shifts; one row further down turns to one column further right.
    np.testing.assert_allclose(matrix @ [5, 10, 20, 1], [5, 11, 18, 1], atol=1e-12)
    np.testing.assert_allclose(matrix @ [5, 11, 20, 1], [5, 11, 19, 1], atol=1e-12)
