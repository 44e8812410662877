"""What the viewer is given: images to within their grey levels, in order, with what is missing named."""

import base64
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from made_up_results import LABELS, definition, read_definition, write_examples

from data_prep.errors import BadInput
from workflow.evaluate.examples import ERROR_LIMITS
from workflow.page.viewer import CLIPPED, pack, plots, viewer_data

MASKS = ["1d_uniform_6x", "2d_radial_9x"]


def unpack(packed):
    """Independently of the browser's code: the image that is stored."""
    planes = np.frombuffer(zlib.decompress(base64.b64decode(packed["data"])), np.uint8)
    levels = sum(256**i * part.astype(int) for i, part in enumerate(np.split(planes, packed["bytes"])))
    return (packed["low"] + packed["step"] * levels).reshape(packed["height"], packed["width"])


@given(
    arrays.arrays(np.float32, (3, 5), elements=st.floats(-4, 4, width=32)),
    st.sampled_from([8, 10, 12, 16]),
)
def test_an_image_is_kept_to_within_half_a_grey_level(image, bits):
    packed = pack(image, bits)
    clipped = np.clip(image, *CLIPPED)
    assert np.abs(unpack(packed) - clipped).max() <= packed["step"] / 2 + 1e-8
    assert packed["step"] <= (CLIPPED[1] - CLIPPED[0]) / (2**bits - 1) * (1 + 1e-6)
    assert packed["bytes"] == (1 if bits == 8 else 2)


def test_an_image_without_contrast_is_kept():
    assert np.array_equal(unpack(pack(np.full((2, 3), 0.25, np.float32), 12)), np.full((2, 3), 0.25))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("results")
    for mask in MASKS:
        for method in LABELS["ixi"]:
            write_examples(root, "ixi", mask, method)
    return root


def shown(**changes):
    return read_definition(definition(0, "ixi", MASKS, LABELS["ixi"], **changes))


def test_every_mask_offers_its_images_in_order(root):
    data = viewer_data(root, [shown()], {})
    assert [setting["mask"] for setting in data["settings"]] == ["1D-Uniform-6×", "2D-Radial-9×"]
    assert {setting["dataset"] for setting in data["settings"]} == {"IXI (embedded data, not IXI)"}
    (one,) = data["settings"][0]["slices"]
    assert one["title"] == "IXI901, slice 12"
    assert [image["name"] for image in one["images"]] == [
        *("Reference (T2)", "Auxiliary (T1)", "Zero-filled"),
        *("UNet-T2", "Xiang et al.", "DuDoRNet", "MANet"),
        "Sampling mask",
    ]
    assert all("psnr" in image for image in one["images"][2:-1])
    assert all("psnr" not in image for image in (*one["images"][:2], one["images"][-1]))


def test_images_are_fractions_of_the_references_maximum_and_scores_the_runs_own(root):
    data = viewer_data(root, [shown()], {})
    with np.load(root / "runs/ixi/2d_radial_9x/manet/seed0/examples.npz") as kept:
        target, own, psnr = kept["target"][0], kept["reconstruction"][0], float(kept["psnr"][0])
    images = {image["name"]: image for image in data["settings"][1]["slices"][0]["images"]}
    stored = unpack(data["images"][images["MANet"]["image"]])
    reference = unpack(data["images"][images["Reference (T2)"]["image"]])
    assert images["MANet"]["psnr"] == f"{psnr:.2f}"
    assert np.abs(stored - own / target.max()).max() < 4e-4
    # So exact that the error map's PSNR is the run's.
    assert -10 * np.log10(np.mean((stored - reference) ** 2)) == pytest.approx(psnr, abs=0.01)


def test_what_all_masks_share_is_stored_once(root):
    data = viewer_data(root, [shown()], {})
    first, second = (setting["slices"][0]["images"] for setting in data["settings"])
    assert [image["image"] for image in first[:2]] == [image["image"] for image in second[:2]]
    # Target and auxiliary once; zero-filled, four methods and the mask twice.
    assert len(data["images"]) == 2 + 2 * 6


def test_error_maps_of_a_dataset_share_one_scale_of_the_figures(root):
    limits = {setting["limit"] for setting in viewer_data(root, [shown()], {})["settings"]}
    assert len(limits) == 1
    assert limits <= {*ERROR_LIMITS}


def test_published_data_is_not_called_embedded(root):
    data = viewer_data(root, [shown(source="published")], {})
    assert {setting["dataset"] for setting in data["settings"]} == {"IXI"}


def test_what_diverged_or_was_not_run_is_offered_with_the_reason(tmp_path):
    for method in ("zf", "unet"):
        path = write_examples(tmp_path, "ixi", MASKS[0], method)
    with np.load(path) as kept:
        content = dict(kept)
    content["reconstruction"][:] = np.nan
    content["psnr"][:] = content["ssim"][:] = np.nan
    np.savez(path, **content)
    wanted = read_definition(definition(0, "ixi", MASKS[:1], LABELS["ixi"]))
    (one,) = viewer_data(tmp_path, [wanted], {})["settings"][0]["slices"]
    problems = {image["name"]: image.get("problem") for image in one["images"]}
    assert problems["UNet-T2"] == "diverged"
    assert problems["MANet"] == "no run"
    assert problems["Zero-filled"] is None


def test_a_slice_without_signal_is_named(tmp_path):
    path = write_examples(tmp_path, "ixi", MASKS[0], "zf")
    with np.load(path) as kept:
        content = dict(kept)
    content["target"][:] = 0
    np.savez(path, **content)
    wanted = read_definition(definition(0, "ixi", MASKS[:1], LABELS["ixi"]))
    with pytest.raises(BadInput, match="example slice of IXI901 has no signal"):
        viewer_data(tmp_path, [wanted], {})


def test_both_plots_share_their_ranges():
    (item,) = plots()["items"]
    assert sorted(item["roots"].values()) == ["error", "image"]
    text = str(plots()["docs"])
    assert text.count("'name': 'Range1d'") == 2
