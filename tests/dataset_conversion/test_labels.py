"""What the values of masks mean: as the user says, or for certain; every other mask is refused with what settles it."""

import json
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers import dataset_trees as trees
from nnunet_mamba import dataset_conversion
from nnunet_mamba.cli.main import main
from nnunet_mamba.dataset_conversion.formats.instances import join_nuclei
from nnunet_mamba.dataset_conversion.formats.label_names import labels_of, parse_labels

LabelManager = pytest.importorskip("nnunetv2.utilities.label_handling.label_handling").LabelManager
convert = partial(dataset_conversion.convert, "generic", dataset_id=510)
SIZE = (48, 64)


def boxes(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """(48, 64): a 9x9 square of each value, side by side with one pixel between."""
    mask = np.zeros(SIZE, dtype)
    for i, value in enumerate(values):
        mask[6:15, 2 + 10 * i : 11 + 10 * i] = value
    return mask


def outlined(inner: int, outline: int) -> np.ndarray:
    """A box of `inner` in a frame of two pixels of `outline`, as PASCAL VOC has it."""
    mask = np.zeros(SIZE, np.uint8)
    mask[8:34, 10:50] = outline
    mask[10:32, 12:48] = inner
    return mask


def soft(grey: int = 0) -> np.ndarray:
    """A white disc with soft edges, and a grey square."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    disc = np.clip(255 * (14.5 - np.hypot(y - 24, x - 40)) / 3 + 127, 0, 255).astype(np.uint8)
    disc[2:11, 2:11] = grey
    return disc


def plant(root: Path, masks: list[np.ndarray], ending: str = "png", **save) -> tuple[Path, Path]:
    for i, mask in enumerate(masks):
        trees.write_image(root / "images" / f"{i}.png", size=SIZE)
        path = root / "masks" / f"{i}.{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(path, **save)
    return root / "images", root / "masks"


def labels_in(folder: Path, i: int = 0) -> np.ndarray:
    return np.asarray(Image.open(folder / "labelsTr" / f"{i}.png"))


def load(path: Path):
    return json.loads(path.read_text(encoding="utf-8"))


def red(mask: np.ndarray) -> np.ndarray:
    return np.stack([np.where(mask > 0, 255, 0), 0 * mask, 0 * mask], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    "masks, expected",
    [
        ([boxes(255), boxes(0, 255)], [boxes(1), boxes(0, 1)]),
        ([boxes(1), boxes()], [boxes(1), boxes()]),
        ([boxes(7), boxes(7)], [boxes(1), boxes(1)]),
        ([boxes(40000, dtype=np.uint16), boxes(dtype=np.uint16)], [boxes(1), boxes()]),
        ([red(boxes(1)), boxes()], [boxes(1), boxes()]),  # one colour on black
        ([soft(), boxes(255)], [(soft() > 127).astype(np.uint8), boxes(1)]),
    ],
    ids=["255", "1", "7", "16 bits", "red", "soft"],
)
def test_the_certain_cases(tmp_path, masks, expected):
    folder = convert(plant(tmp_path, masks))
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "foreground": 1}
    for i, labels in enumerate(expected):
        np.testing.assert_array_equal(labels_in(folder, i), labels)


@pytest.mark.parametrize(
    "masks, settled_by",
    [
        ([outlined(1, 255)], [{"labels": "0=background,1=class_1,255=ignore"}]),
        (
            [boxes(255), boxes(1)],
            [
                {"labels": "0=background,1=class_1,255=class_255"},
                {"labels": "0=background,1=foreground,255=foreground"},
            ],
        ),
        ([boxes(1, 2), boxes(2)], [{"labels": "0=background,1=class_1,2=class_2"}, {"instances": True}]),
        (
            [boxes(1), boxes(2)],
            [
                {"labels": "0=background,1=class_1,2=class_2"},
                {"labels": "0=background,1=foreground,2=foreground"},
                {"instances": True},
            ],
        ),
        ([boxes(3, 255, 255)], [{"labels": "0=background,3=class_3,255=class_255"}]),  # too much of 255 for outlines
        ([boxes(128, 255)], [{"labels": "0=background,128=class_128,255=class_255"}]),
        ([boxes(1, 2) + 1], [{"labels": "1=background,2=class_2,3=class_3"}]),
        ([boxes(5, 300, dtype=np.uint16)], [{"labels": "0=background,5=class_5,300=class_300"}, {"instances": True}]),
        (
            [boxes(64, 128, 192, 255)],
            [
                {"labels": "0=background,64=class_64,128=class_128,192=class_192,255=class_255"},
                {"labels": "0-127=background,128-255=foreground"},
            ],
        ),
    ],
    ids=["pascal", "two ways", "together", "apart", "not an outline", "shades", "no zero", "16 bits", "levels"],
)
def test_what_is_not_certain_is_refused_and_what_is_printed_settles_it(tmp_path, nnunet, masks, settled_by):
    fed = plant(tmp_path, [*masks, *masks])
    with pytest.raises(ValueError, match="can mean several things") as error:
        convert(fed, test=0, size=(24, 32), name="Mine", overwrite=True)
    assert nnunet.content() == []
    commands = [shlex.split(line) for line in str(error.value).splitlines() if line.startswith("  nnunet_mamba")]
    start = ["nnunet_mamba", "convert", "generic", "-i", str(fed[0]), "--masks", str(fed[1]), "-d", "510"]
    start += ["--size", "24", "32", "-np", "1", "--overwrite", "--name", "Mine"]
    flags = [["--instances"] if "instances" in way else ["--labels", way["labels"]] for way in settled_by]
    found = [command[len(start) :] for command in commands]
    assert all(command[: len(start)] == start for command in commands)
    assert found == flags
    assert main(commands[-1][1:]) == 0
    assert (nnunet.raw / "Dataset510_Mine" / "dataset.json").exists()


def test_soft_edges_with_a_level_of_grey_are_not_certain(tmp_path, nnunet):
    fed = plant(tmp_path, [soft(), soft(grey=127)])
    with pytest.raises(ValueError, match="can mean several things") as error:
        convert(fed)
    assert nnunet.content() == []
    command = shlex.split(str(error.value).splitlines()[-1])
    assert command[-2:] == ["--labels", "0-127=background,128-255=foreground"] and main(command[1:]) == 0
    np.testing.assert_array_equal(labels_in(nnunet.raw / "Dataset510_Generic", 1), soft(grey=127) > 127)


def test_the_refusal_counts_the_pixels_and_names_a_mask(tmp_path):
    with pytest.raises(ValueError) as error:
        convert(plant(tmp_path, [boxes(1), boxes(1, 2), boxes(1)]))
    lines = [" ".join(line.split()) for line in str(error.value).splitlines()]
    total = 3 * SIZE[0] * SIZE[1]
    assert f"1 {100 * 3 * 81 / total:.3g} % 3 of 3 masks such as 0.png" in lines
    assert f"2 {100 * 81 / total:.3g} % 1 of 3 masks such as 1.png" in lines


def test_a_slip_of_one_pixel_is_pointed_out(tmp_path):
    slip = boxes(255)
    slip[40, 40] = 3
    with pytest.raises(ValueError, match="A value of few pixels may be a slip; then mend its mask") as error:
        convert(plant(tmp_path, [boxes(255)] * 4 + [slip]))
    assert "3 under 0.01 % 1 of 5 masks such as 4.png" in " ".join(str(error.value).split())


def test_pascal_masks_with_labels(tmp_path, capsys):
    mask = outlined(1, 255)
    folder = convert(plant(tmp_path, [mask, mask]), labels="0=background,1=lesion,255=ignore")
    np.testing.assert_array_equal(labels_in(folder), np.where(mask == 255, 2, mask))
    labels = load(folder / "dataset.json")["labels"]
    assert labels == {"background": 0, "lesion": 1, "ignore": 2}
    manager = LabelManager(labels, None)
    assert manager.ignore_label == 2 and manager.foreground_labels == [1]
    share = 22 * 36 / mask.size
    text = capsys.readouterr().out
    assert f"1 = lesion, {100 * share:.3g} % of the pixels" in text and "255 = ignore" in text
    report = load(folder / "conversion_report.json")
    assert report["mask_values"][1] == {"value": "1", "name": "lesion", "share": share}
    assert report["foreground"]["max"] == round(share, 6)  # what is ignored is no foreground


@pytest.mark.parametrize(
    "text, masks, expected",
    [
        ("0=background,2=b,1=a", [boxes(1, 2)], [boxes(2, 1)]),  # numbered as named
        ("0=background,1=x,2=x", [boxes(1, 2)], [boxes(1, 1)]),
        ("5=Background,0=hole,9=IGNORE", [boxes(9) + 0, boxes(5, 5)], [1 - (boxes(9) > 0) + boxes(2), 1 - boxes(1, 1)]),
        ("0=background,1-3=low,4-30=high", [boxes(1, 3, 4)], [boxes(1, 1, 2)]),
        ("0=background,7=seven,8=never", [boxes(7)], [boxes(1)]),
        ("0=background,300=x,1000=y", [boxes(300, 1000, dtype=np.uint16)], [boxes(1, 2)]),
        ("0-127=background,128-255=big", [soft(grey=100)], [(soft() > 127).astype(np.uint8)]),
        ("0=background,255=big", [soft(), soft()], [(soft() > 127).astype(np.uint8)]),
    ],
    ids=["order", "one name twice", "background 5", "range", "never seen", "16 bits", "levels", "soft"],
)
def test_labels(tmp_path, text, masks, expected):
    folder = convert(plant(tmp_path, [*masks, *masks]), labels=text)
    for i, labels in enumerate(expected):
        np.testing.assert_array_equal(labels_in(folder, i), labels)
    assert load(folder / "dataset.json")["labels"] == labels_of(parse_labels(text))


def test_a_value_without_a_name(tmp_path, nnunet):
    fed = plant(tmp_path, [boxes(1), boxes(1, 3)])
    with pytest.raises(ValueError, match="without a name in --labels") as error:
        convert(fed, labels="0=background,1=a")
    assert "1 of 2 masks such as 1.png" in str(error.value) and "--labels 0=background,1=a,3=class_3" in str(
        error.value
    )
    assert nnunet.content() == []


@pytest.mark.parametrize(
    "labels, mask, settled_by",
    [
        ("0=background,1=lesion", boxes(255), ["0=background,255=lesion", "0=background,1=lesion,255=class_255"]),
        (
            "0=background,1-9=a,255=b",
            boxes(20, 255),
            ["0=background,20=a,255=b", "0=background,1-9=a,255=b,20=class_20"],
        ),
        ("0=background,1=a,9=ignore", boxes(1, 3), ["0=background,1=a,9=ignore,3=class_3"]),
        ("0=background,1=a,2=b", boxes(3), ["0=background,1=a,2=b,3=class_3"]),  # a or b?
    ],
)
def test_a_class_that_has_another_value(tmp_path, labels, mask, settled_by):
    fed = plant(tmp_path, [mask, mask])
    with pytest.raises(ValueError, match="without a name in --labels") as error:
        convert(fed, labels=labels)
    commands = [shlex.split(line) for line in str(error.value).splitlines() if line.startswith("  nnunet_mamba")]
    assert [command[command.index("--labels") + 1] for command in commands] == settled_by
    assert main(commands[0][1:]) == 0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"labels": "0=background"}, "expected 1 to 253 classes besides background and ignore"),
        ({"labels": "0=a,1=b"}, "nothing is named background"),
        ({"labels": "0=background,1=a,1=b"}, "--labels: 1 is named twice, a and b"),
        ({"labels": "0=background,1-5=a,3=b"}, "--labels: 3 is named twice"),
        ({"labels": "background,lesion"}, "--labels takes VALUE=NAME,VALUE=NAME,.* got 'background'"),
        ({"labels": "0=background,1="}, "--labels: 1 needs a name"),
        ({"labels": "0=background,9-3=a"}, "a range goes upwards"),
        ({"labels": "0=background,1=a", "instances": True}, "give one of --labels, --colours and --instances"),
        ({"border": True}, "--border needs --instances"),
        ({"colours": "missing.txt"}, "--colours missing.txt: cannot be read"),
        ({"instances": True, "border": True}, "--border needs a value per object, but no mask holds more than one"),
    ],
    ids=str,
)
def test_options_that_say_nothing(tmp_path, nnunet, options, message):
    with pytest.raises(ValueError, match=message):
        convert(plant(tmp_path, [boxes(1), boxes(1)]), **options)
    assert nnunet.content() == []


def touching() -> np.ndarray:
    """Two boxes side by side, one a pixel apart from them, one far away."""
    mask = np.zeros(SIZE, np.uint16)
    mask[5:15, 5:15], mask[5:15, 15:25], mask[16:20, 5:12], mask[30:40, 40:50] = 3, 700, 9, 1
    return mask


@pytest.mark.parametrize("colour", [False, True])
def test_instances(tmp_path, colour):
    mask = touching()
    stored = np.stack([mask & 255, mask >> 8, 0 * mask], axis=2).astype(np.uint8) if colour else mask
    fed = plant(tmp_path, [stored, stored])
    folder = convert(fed, instances=True)
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "object": 1}
    np.testing.assert_array_equal(labels_in(folder), mask > 0)
    folder = convert(fed, dataset_id=511, instances=True, border=True)
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "object": 1, "border": 2}
    nuclei = [(mask == value).astype(np.uint8) for value in (3, 700, 9, 1)]
    expected = join_nuclei(nuclei, SIZE, border=True)
    np.testing.assert_array_equal(labels_in(folder), expected)
    assert (expected[5:15, 14:16] == 2).all() and expected[5, 5] == 1 and expected[15, 8] == 2  # rims, and the line
    assert set(np.unique(expected[28:42, 38:52])) == {0, 1}  # far from the others


def painted() -> np.ndarray:
    colours = np.array([[0, 0, 0], [255, 0, 0], [0, 200, 10]], np.uint8)
    return colours[boxes(1, 2)]


def test_colours(tmp_path, nnunet):
    fed = plant(tmp_path, [painted(), red(boxes(0, 0, 1))])
    with pytest.raises(ValueError, match="masks in colour; say which class") as error:
        convert(fed)
    lines = str(error.value).splitlines()
    share = 100 * 2 * 81 / (2 * SIZE[0] * SIZE[1])
    assert f"255 0 0 class_1              # {share:.3g} % of the pixels, in 2 of 2 masks such as 0.png" in lines
    assert nnunet.content() == []
    suggested = tmp_path / "colours.txt"
    suggested.write_text("\n".join(line for line in lines if "# " in line and line[0].isdigit()))
    folder = convert(fed, colours=str(suggested))
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "class_1": 1, "class_2": 2}
    np.testing.assert_array_equal(labels_in(folder), boxes(1, 2))
    np.testing.assert_array_equal(labels_in(folder, 1), boxes(0, 0, 1))


@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_a_file_of_colours(tmp_path, mode):
    images = [Image.fromarray(painted()).convert("P") if mode == "P" else Image.fromarray(painted())] * 2
    fed = plant(tmp_path, [boxes(), boxes()])
    for i, image in enumerate(images):
        image.save(fed[1] / f"{i}.png")
    table = tmp_path / "mine.csv"
    table.write_text("# R,G,B,name\n0, 0, 0, background\n\n0,200,10,Ignore\n255;0;0;cell body\n")
    if mode == "P":  # the palette decides what the colours are
        code = {tuple(colour) for colour in np.asarray(images[0].convert("RGB")).reshape(-1, 3).tolist()}
        table.write_text("".join(f"{r} {g} {b} {'background' if r + g + b == 0 else f'c{r}'}\n" for r, g, b in code))
    folder = convert(fed, colours=str(table))
    labels = labels_in(folder)
    if mode == "RGB":
        assert load(folder / "dataset.json")["labels"] == {"background": 0, "cell body": 1, "ignore": 2}
        np.testing.assert_array_equal(labels, boxes(1, 2))
    else:
        assert labels[8, 4] != labels[8, 14] and labels[0, 0] == 0 and len(np.unique(labels)) == 3


@pytest.mark.parametrize(
    "text, message",
    [
        ("0 0 0 background\n255 0 lesion\n", r"mine\.txt, line 2: expected R G B name.*got '255 0 lesion'"),
        ("0 0 0 background\n256 0 0 lesion\n", r"mine\.txt, line 2: .*from 0 to 255"),
        ("0 0 0 background\n255 0 0 a\n255 0 0 b", "255 0 0 is named twice, a and b"),
        ("0 0 0 background\n255 0 0 a", "does not name; add such lines to it:\n0 200 10 class_3"),
    ],
)
def test_a_wrong_file_of_colours(tmp_path, nnunet, text, message):
    (tmp_path / "mine.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        convert(plant(tmp_path, [painted(), painted()]), colours=str(tmp_path / "mine.txt"))
    assert nnunet.content() == []


def shapes(middle: int) -> np.ndarray:
    """A white disc and a square of the middle level."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    mask = np.where(np.hypot(y - 24, x - 42) < 15, 255, 0).astype(np.uint8)
    mask[4:20, 4:20] = middle
    return mask


@pytest.mark.parametrize(
    "middle, quality",
    [(1, 95), (1, 75), *((middle, quality) for middle in (10, 60, 127, 200) for quality in (95, 75, 50))],
)
def test_a_jpeg_of_three_levels_is_refused(tmp_path, nnunet, middle, quality):
    fed = plant(tmp_path, [shapes(middle), shapes(0), shapes(0)], "jpg", quality=quality)
    for options in ({}, {"labels": f"0=background,{middle}=a,255=b"}, {"instances": True}):
        with pytest.raises(ValueError, match="0.jpg: a JPEG mask, .* JPEG is lossy"):
            convert(fed, **options)
    assert nnunet.content() == []


@pytest.mark.parametrize("quality", [95, 75, 50, 25])
def test_a_jpeg_of_two_levels(tmp_path, quality):
    fed = plant(tmp_path, [shapes(255), shapes(0), boxes()], "jpg", quality=quality)
    folder = convert(fed, labels="0=background,255=lesion")
    assert load(folder / "dataset.json")["labels"] == {"background": 0, "lesion": 1}
    for i in range(3):
        decoded = np.asarray(Image.open(fed[1] / f"{i}.jpg"))
        np.testing.assert_array_equal(labels_in(folder, i), decoded > 127)
    again = convert(fed, dataset_id=511)
    assert load(again / "dataset.json")["labels"] == {"background": 0, "foreground": 1}
    np.testing.assert_array_equal(labels_in(again), labels_in(folder))


def test_the_contact_sheet_has_a_line_per_value(tmp_path):
    fed = plant(tmp_path, [outlined(1, 255)] * 2)
    first = convert(fed, labels="0=background,1=lesion,255=ignore")
    second = convert(fed, dataset_id=511, labels="0=background,1=lesion,255=other")
    sheets = [np.asarray(Image.open(folder / "contact_sheet.png")) for folder in (first, second)]
    assert sheets[0].shape == sheets[1].shape and sheets[0].shape[0] == 228 + 3 * 18
    different = (sheets[0] != sheets[1])[228:].any(axis=(1, 2))
    assert different[36:].any() and not different[:36].any()  # in the third line only
