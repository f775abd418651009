"""The phantom has PH2's layout, depends on its seed only, and is too hard for a threshold."""

import numpy as np
import pytest
from PIL import Image
from skimage.filters import threshold_otsu

from nnunet_mamba.demo.phantom import draw_case, write_phantom


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def dice(a, b):
    return 2 * np.sum(a & b) / (a.sum() + b.sum())


def test_official_layout(tmp_path):
    root = write_phantom(tmp_path, cases=3, size=(40, 56))
    assert root == tmp_path / "PH2Dataset"
    cases = sorted((root / "PH2 Dataset images").iterdir())
    assert len(cases) == 3
    expected = set()
    for case in cases:
        name = case.name
        assert name.startswith("IMD") and len(name) == 6 and name[3:].isdigit()
        image = Image.open(case / f"{name}_Dermoscopic_Image" / f"{name}.bmp")
        lesion = Image.open(case / f"{name}_lesion" / f"{name}_lesion.bmp")
        assert (image.mode, image.size) == ("RGB", (56, 40))
        assert (lesion.mode, lesion.size) == ("1", (56, 40))
        for kind, file in (("Dermoscopic_Image", name), ("lesion", f"{name}_lesion"), ("roi", f"{name}_R1_Label4")):
            expected.add(f"PH2 Dataset images/{name}/{name}_{kind}/{file}.bmp")
    assert set(files_of(root)) == expected


def test_the_seed_determines_every_byte(tmp_path):
    written = [
        files_of(write_phantom(tmp_path / str(number), cases=2, size=(32, 48), seed=seed))
        for number, seed in enumerate((7, 7, 8))
    ]
    assert written[0] == written[1]
    assert set(written[0].values()).isdisjoint(written[2].values())


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"cases": 0}, "got cases=0"),
        ({"cases": 401}, "got cases=401"),
        ({"size": (31, 64)}, r"got size=\(31, 64\), wanted .* at least 32"),
    ],
)
def test_bad_arguments_write_nothing(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        write_phantom(tmp_path, **arguments)
    assert not any(tmp_path.iterdir())


def test_an_existing_set_is_not_mixed_with_another(tmp_path):
    write_phantom(tmp_path, cases=1, size=(32, 32))
    with pytest.raises(FileExistsError):
        write_phantom(tmp_path, cases=1, size=(32, 32))


@pytest.fixture(scope="module")
def drawn():
    return [draw_case((96, 128), np.random.default_rng([0, number])) for number in range(24)]


def test_every_case_has_a_lesion_and_skin_around_it(drawn):
    areas = [lesion.mean() for _, lesion in drawn]
    assert min(areas) > 0.02 and max(areas) < 0.6
    assert max(areas) > 5 * min(areas)


def test_lesions_are_darker_than_the_skin_close_by(drawn):
    for image, lesion in drawn:
        rows, columns = np.nonzero(lesion)
        around = np.zeros_like(lesion)
        around[max(rows.min() - 4, 0) : rows.max() + 5, max(columns.min() - 4, 0) : columns.max() + 5] = True
        y, x = np.mgrid[-1:1:96j, -1:1:128j]
        lit = np.hypot(y, 4 / 3 * x) < 0.9  # outside of the dark corners
        skin = around & lit & ~lesion
        assert image[lesion].mean() < image[skin].mean() - 10


def test_thresholds_fail(drawn):
    by_otsu, by_best = [], []
    for image, lesion in drawn:
        grey = image.mean(axis=-1)
        by_otsu.append(dice(grey < threshold_otsu(grey), lesion))
        by_best.append(max(dice(grey < threshold, lesion) for threshold in range(8, 248, 8)))
    assert np.mean(by_otsu) < 0.5
    assert np.mean(by_best) < 0.65  # each image's best threshold, chosen by the truth
