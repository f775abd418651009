"""Kvasir-SEG and CVC-ClinicDB: lossy masks, video sequences, copies."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba.dataset_conversion import convert, cvc_clinicdb


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_jpeg_masks_are_cut_at_127(tmp_path):
    source = trees.kvasir(tmp_path)
    mask = Image.fromarray(trees.box(1, (32, 32)).astype(np.uint8) * 255).convert("RGB")
    mask.save(source / "masks" / "cju1qkwl.jpg", quality=30)
    stored = np.asarray(Image.open(source / "masks" / "cju1qkwl.jpg"))
    assert len(np.unique(stored)) > 10
    folder = convert("Kvasir-SEG", source, 507)
    np.testing.assert_array_equal(np.asarray(Image.open(folder / "labelsTr" / "cju1qkwl.png")), trees.box(1, (32, 32)))


@pytest.mark.parametrize(
    "frame, sequence",
    [
        *(
            (0, None),
            (1, 1),
            (25, 1),
            (26, 2),
            (50, 2),
            (67, 3),
            (199, 9),
            (200, 10),
            (205, 10),
            (206, 11),
            (478, 23),
            (592, 29),
        ),
        *((612, 29), (613, None)),
    ],
)
def test_sequence_of_a_frame(frame, sequence):
    assert cvc_clinicdb.find_sequence(frame) == sequence


def test_lengths_of_the_sequences():
    lengths = Counter(cvc_clinicdb.find_sequence(frame) for frame in range(1, 613))
    assert [lengths[i] for i in range(1, 30)] == [
        *(25, 25, 17, 11, 25, 23, 25, 26, 22, 6, 22, 25, 25, 20, 20),
        *(25, 21, 20, 25, 20, 19, 19, 12, 25, 25, 18, 25, 20, 21),
    ]


def test_folds_and_test_keep_a_sequence_together(tmp_path):
    source = trees.clinicdb(tmp_path, frames=tuple(range(1, 613, 6)))
    folder = convert("CVC-ClinicDB", source, 508, test=10)
    folds = load(folder / "splits_final.json")
    parts = [fold["val"] for fold in folds]
    parts.append([path.stem for path in (folder / "labelsTs").iterdir()])
    sequences = [{id.split("_")[0] for id in part} for part in parts]
    assert len(parts[-1]) >= 10 and sum(map(len, parts)) == 102
    assert len(set.union(*sequences)) == sum(map(len, sequences)) == 29


def test_names_and_stored_pixels(tmp_path):
    folder = convert("CVC-ClinicDB", trees.clinicdb(tmp_path), 508)
    names = sorted(path.stem for path in (folder / "labelsTr").iterdir())
    assert names[:4] == ["seq01_frame001", "seq01_frame002", "seq01_frame025", "seq02_frame026"]
    assert names[-1] == "seq29_frame612"
    image = Image.open(folder / "imagesTr" / "seq29_frame612_0000.png")
    assert image.mode == "RGB" and set(np.unique(image)) == {40, 200}


@pytest.mark.parametrize("places", [("PNG",), ("TIF",), ("PNG", "TIF")], ids=" and ".join)
def test_copies(tmp_path, places):
    for place in places:
        made = trees.clinicdb(tmp_path / "made", place.lower())
        (tmp_path / "copy").mkdir(exist_ok=True)
        made.rename(tmp_path / "copy" / place)
    folder = convert("CVC-ClinicDB", tmp_path / "copy", 508)
    assert load(folder / "dataset.json")["numTraining"] == 9


@pytest.mark.parametrize("stem", ["613", "0", "frame7"])
def test_a_frame_of_no_sequence(tmp_path, nnunet, stem):
    source = trees.clinicdb(tmp_path)
    trees.write_image(source / "Original" / f"{stem}.tif")
    trees.write_mask(source / "Ground Truth" / f"{stem}.tif", trees.box())
    with pytest.raises(ValueError, match=rf"{stem}\.tif: not one of the frames 1 to 612"):
        convert("CVC-ClinicDB", source, 508)
    assert nnunet.content() == []


def test_one_frame_padded_and_not(tmp_path):
    source = trees.clinicdb(tmp_path)
    trees.write_image(source / "Original" / "001.tif")
    with pytest.raises(ValueError, match=r"001 has 2 images: .*001\.tif, .*1\.tif"):
        convert("CVC-ClinicDB", source, 508)


def test_two_trees(tmp_path, nnunet):
    for place in "ab":
        trees.kvasir(tmp_path / place)
    with pytest.raises(ValueError, match="holds 2 Kvasir-SEG trees .*; give one of them to -i"):
        convert("Kvasir-SEG", tmp_path, 507)
    assert nnunet.content() == []
