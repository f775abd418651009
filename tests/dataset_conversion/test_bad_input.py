"""Every bad input is an error that names the file and says what to do, and leaves nothing in nnU-Net's folders."""

import errno
import re
import shutil
import stat
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from helpers.dataset_trees import ph2_case
from nnunet_mamba import dataset_conversion, nnunet_folders
from nnunet_mamba.dataset_conversion.pipeline import convert as pipeline
from nnunet_mamba.dataset_conversion.pipeline import writer

convert = partial(dataset_conversion.convert, "PH2")


def truncated_image(images: Path) -> None:
    image, _ = ph2_case(images, "IMD800")
    image.write_bytes(image.read_bytes()[:300])


def truncated_mask(images: Path) -> None:
    _, mask = ph2_case(images, "IMD800")
    mask.write_bytes(mask.read_bytes()[:80])


def no_image_at_all(images: Path) -> None:
    image, _ = ph2_case(images, "IMD800")
    image.write_bytes(b"<html>404</html>")


def mask_of_another_size(images: Path) -> None:
    ph2_case(images, "IMD800", size=(24, 32), mask_size=(24, 30))


def image_without_mask(images: Path) -> None:
    _, mask = ph2_case(images, "IMD800")
    mask.unlink()


def mask_only_as_jpg(images: Path) -> None:
    _, mask = ph2_case(images, "IMD800")
    Image.open(mask).convert("L").save(mask.with_suffix(".jpg"))
    mask.unlink()


def mask_without_image(images: Path) -> None:
    image, _ = ph2_case(images, "IMD800")
    image.unlink()


def case_without_anything(images: Path) -> None:
    (images / "IMD800").mkdir()


def photograph_for_mask(images: Path) -> None:
    image, mask = ph2_case(images, "IMD800")
    shutil.copy(image, mask)


def id_twice(images: Path) -> None:
    ph2_case(images, "IMD800")
    shutil.copytree(images / "IMD800", images / "IMD800 - Copy")


def id_twice_but_for_case(images: Path) -> None:
    ph2_case(images, "IMD800")
    image, mask = ph2_case(images, "imd800x")
    image.rename(image.with_name("imd800.bmp"))
    mask.rename(mask.with_name("imd800_lesion.bmp"))


BAD_CASES = [
    (truncated_image, r"IMD800\.bmp: cannot be read as an image"),
    (truncated_mask, r"IMD800_lesion\.bmp: cannot be read as an image"),
    (no_image_at_all, r"IMD800\.bmp: cannot be read as an image"),
    (mask_of_another_size, r"IMD800_lesion\.bmp: the mask has 24x30 pixels \(H x W\), its image IMD800\.bmp 24x32"),
    (image_without_mask, r"IMD800\.bmp: an image without a mask"),
    (mask_only_as_jpg, r"IMD800\.bmp: an image without a mask"),
    (mask_without_image, r"IMD800_lesion\.bmp: a mask without an image"),
    (case_without_anything, r"IMD800: holds neither an image nor a lesion mask"),
    (photograph_for_mask, r"IMD800_lesion\.bmp: not a mask, \d+% of its pixels are grey"),
    (id_twice, r"IMD800 has 2 images: .*IMD800 - Copy"),
    (id_twice_but_for_case, r"the id IMD800 occurs 2 times: .*IMD800\.bmp, .*imd800\.bmp"),
]


@pytest.mark.parametrize("spoil, message", BAD_CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_bad_case(images, nnunet, spoil, message):
    spoil(images)
    with pytest.raises(ValueError, match=message) as error:
        convert(images, 501)
    assert "--skip-bad" in str(error.value) and "\n" not in str(error.value)
    assert nnunet.content() == []
    folder = convert(images, 501, skip_bad=True)
    assert not (folder / "labelsTr" / "IMD800.png").exists()
    assert len(list((folder / "labelsTr").iterdir())) == 7


def test_many_bad_cases_are_counted(images, nnunet):
    for mask in images.glob("*/*_lesion/*_lesion.bmp"):
        mask.write_bytes(b"BM")
    with pytest.raises(ValueError, match=r"and 2 more \(fix"):
        convert(images, 501)
    with pytest.raises(ValueError, match="no case is left to convert: .*IMD003_lesion.bmp"):
        convert(images, 501, skip_bad=True)
    assert nnunet.content() == []


@pytest.mark.parametrize(
    "name, message",
    [
        ("missing", r"missing: no such folder or zip; check -i"),
        ("empty", r"empty: the folder is empty"),
        (
            "other",
            r"other: not the layout of PH2; expected PH2 Dataset images/IMD003/.*; found ISIC_0000000\.jpg, masks",
        ),
        ("file.rar", r"file\.rar: neither a folder nor a readable zip; unpack"),
        ("two", r"two: holds 2 PH2 trees \(.*a.*, .*b.*\); give one of them"),
    ],
)
def test_bad_source(tmp_path, images, nnunet, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "masks").mkdir(parents=True)
    (tmp_path / "other" / "ISIC_0000000.jpg").write_bytes(b"")
    (tmp_path / "file.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")
    for inner in "ab":
        shutil.copytree(images, tmp_path / "two" / inner)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / name, 501)
    assert nnunet.content() == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["PH2Dataset.rar"], r"found PH2Dataset\.rar; unpack PH2Dataset\.rar first"),
        (["new/PH2.zip", "readme.txt"], r"found new, readme\.txt; unpack new.PH2\.zip first, or give a zip itself"),
    ],
)
def test_a_source_that_is_still_packed(tmp_path, nnunet, names, said):
    for name in names:
        (tmp_path / "downloads" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "downloads" / name).write_bytes(b"PK")
    with pytest.raises(ValueError, match=f"not the layout of PH2; .*{said}"):
        convert(tmp_path / "downloads", 501)
    assert nnunet.content() == []


def linked() -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo("PH2Dataset/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "entry, content, message",
    [
        ("/etc/evil.bmp", b"x", r"s\.zip: unsafe zip, entry '/etc/evil\.bmp' has an absolute path"),
        ("C:\\evil.bmp", b"x", r"unsafe zip, entry .* has an absolute path"),
        ("PH2Dataset/../../evil.bmp", b"x", r"entry 'PH2Dataset/\.\./\.\./evil\.bmp' leaves the folder by '\.\.'"),
        ("PH2Dataset\\..\\..\\evil.bmp", b"x", r"leaves the folder by '\.\.'"),
        (linked(), b"/etc/passwd", r"entry 'PH2Dataset/link' is a symbolic link"),
        (
            "PH2Dataset/bomb.bmp",
            bytes(65 * 2**20),
            r"size bomb, entry .*bomb\.bmp' grows from [\d,]+ to 68,157,440 bytes",
        ),
        ("readme.txt", b"no data", r"s\.zip: not the layout of PH2; .* found readme\.txt"),
    ],
    ids=["absolute", "drive", "dots", "backslash_dots", "link", "bomb", "other_data"],
)
def test_bad_zip(tmp_path, nnunet, entry, content, message):
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as archive:
        archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match=message):
        convert(tmp_path / "s.zip", 501)
    assert nnunet.content() == []
    assert not (tmp_path / "evil.bmp").exists()


def test_many_entries_that_make_a_bomb(tmp_path, nnunet):
    with zipfile.ZipFile(tmp_path / "s.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(5):
            archive.writestr(f"{i}.bmp", bytes(14 * 2**20))
    with pytest.raises(ValueError, match=r"size bomb, its [\d,]+ bytes unpack to 73,400,320"):
        convert(tmp_path / "s.zip", 501)
    assert nnunet.content() == []


@pytest.mark.parametrize("damage", ["middle", "end", "bad_case"])
def test_damaged_zip(tmp_path, tree, images, nnunet, damage):
    if damage == "bad_case":
        truncated_image(images)
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(tree.rglob("*.bmp")):
            archive.write(file, file.relative_to(tree))
    content = bytearray(path.read_bytes())
    if damage == "middle":
        content[2000:2400] = bytes(400)
    elif damage == "end":
        content = content[:-200]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"s\.zip") as error:
        convert(path, 501)
    assert ".partial" not in str(error.value)
    assert nnunet.content() == []


@pytest.mark.parametrize("where", ["raw", "preprocessed", "results"])
def test_id_in_use(tree, nnunet, where):
    taken = getattr(nnunet, where) / "Dataset501_Other"
    taken.mkdir()
    with pytest.raises(ValueError, match=rf"-d 501 is in use: {re.escape(str(taken))}; choose another -d, or delete"):
        convert(tree, 501)
    assert nnunet.content() == [str(taken)]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"dataset_id": 0}, r"-d 0 is not an nnU-Net data set id; choose one from 1 to 999"),
        ({"dataset_id": 1000}, r"-d 1000 is not"),
        ({"size": (0, 5)}, r"--size takes height and width in pixels, both 1 or more; got 0 5"),
        ({"test": -1}, r"--test must be 0 or more, got -1"),
        ({"test": 6}, r"--test 6 leaves 1 of 7 cases for training"),
        ({"test": 100}, r"--test 100 leaves 0 of 7 cases"),
        ({"processes": 0}, r"-np must be 1 or more, got 0"),
        ({"protocol": "paper", "size": (128, 128)}, r"--protocol paper sets --size 192 256; leave out --size 128 128"),
        ({"protocol": "none"}, r"unknown protocol 'none'; known: paper"),
    ],
    ids=str,
)
def test_bad_option(tree, nnunet, options, message):
    with pytest.raises(ValueError, match=message):
        convert(tree, **{"dataset_id": 501, **options})
    assert nnunet.content() == []


def test_one_case_cannot_be_cross_validated(tmp_path, nnunet):
    ph2_case(tmp_path / "one", "IMD003")
    with pytest.raises(ValueError, match="cross-validation needs at least two cases"):
        convert(tmp_path / "one", 501)
    assert nnunet.content() == []


@pytest.mark.parametrize("value", [None, ""])
def test_nnunet_raw_not_set(tree, monkeypatch, value):
    monkeypatch.delenv("nnUNet_raw") if value is None else monkeypatch.setenv("nnUNet_raw", value)
    with pytest.raises(ValueError, match="nnUNet_raw is not set: export nnUNet_raw="):
        convert(tree, 501)


def test_nnunet_raw_is_a_file(tree, nnunet, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="nnUNet_raw is .*, which is a file"):
        convert(tree, 501)
    assert nnunet.content() == []


@pytest.mark.parametrize("variable", ["nnUNet_raw", "nnUNet_preprocessed"])
def test_a_folder_that_cannot_be_written_is_named_by_its_variable(tree, nnunet, monkeypatch, tmp_path, variable):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(variable, str(tmp_path / "file" / "inner"))
    wanted = rf"{variable}={tmp_path}/file/inner: cannot be written \(Not a directory\); .* set {variable} to another"
    with pytest.raises(OSError, match=wanted):
        convert(tree, 501)
    monkeypatch.setenv(variable, str(tmp_path / "nnunet" / variable.partition("_")[2]))

    def refuse(dir):
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr(nnunet_folders.tempfile, "TemporaryFile", refuse)
    with pytest.raises(
        OSError, match=r"nnUNet_raw=.*raw: cannot be written \(Read-only file system\); change"
    ) as error:
        convert(tree, 501)
    assert ".partial" not in str(error.value) and nnunet.content() == []


@pytest.mark.parametrize(
    "error, raised, message",
    [
        (OSError(errno.ENOSPC, "No space left on device"), OSError, "no space left in .*raw; free some"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (MemoryError(), MemoryError, None),
    ],
    ids=["full_disk", "interrupt", "memory"],
)
def test_failure_while_writing(tree, nnunet, monkeypatch, error, raised, message):
    written = []

    def write_png(path: Path, pixels: np.ndarray) -> None:
        written.append(path)
        if len(written) == 6:
            raise error
        path.write_bytes(b"")

    monkeypatch.setattr(writer, "write_png", write_png)
    with pytest.raises(raised, match=message):
        convert(tree, 501)
    assert len(written) == 6
    assert nnunet.content() == []


def test_failure_of_the_second_rename_takes_back_the_first(tree, nnunet, monkeypatch):
    rename_all = pipeline.rename_all

    def rename_after_another(moves) -> None:
        (nnunet.preprocessed / "Dataset501_PH2").mkdir()
        rename_all(moves)

    monkeypatch.setattr(pipeline, "rename_all", rename_after_another)
    with pytest.raises(OSError, match="appeared while converting"):
        convert(tree, 501)
    assert nnunet.content() == [str(nnunet.preprocessed / "Dataset501_PH2")]


def test_overwrite_replaces_the_data_set_and_what_was_preprocessed_of_it(tree, nnunet, capsys):
    first = convert(tree, 501)
    preprocessed = nnunet.preprocessed / "Dataset501_PH2"
    (preprocessed / "nnUNetPlans.json").write_text("of the data before")
    model = nnunet.results / "Dataset501_PH2" / "model"
    model.mkdir(parents=True)
    with pytest.raises(ValueError, match="-d 501 is in use: .*or replace it with --overwrite"):
        convert(tree, 501, test=2)
    assert not (first / "imagesTs").exists()
    assert convert(tree, 501, test=2, overwrite=True) == first
    assert len(list((first / "imagesTs").iterdir())) == 2 and len(list((first / "imagesTr").iterdir())) == 5
    assert [path.name for path in preprocessed.iterdir()] == ["splits_final.json"] and model.is_dir()
    assert sorted(path.name for path in nnunet.raw.iterdir()) == ["Dataset501_PH2"]
    assert f"{model.parent}: models that were trained with the data before are kept" in capsys.readouterr().out


def test_overwrite_spares_other_data_sets_and_its_own_source(tree, nnunet):
    other = nnunet.raw / "Dataset501_Other"
    other.mkdir()
    with pytest.raises(ValueError, match="-d 501 is in use: .*Other; .*--overwrite only replaces one of the same name"):
        convert(tree, 501, overwrite=True)
    other.rename(nnunet.raw / "Dataset501_PH2")
    shutil.copytree(tree, nnunet.raw / "Dataset501_PH2" / "source")
    with pytest.raises(ValueError, match="--overwrite would delete this source with .*Dataset501_PH2; choose another"):
        convert(nnunet.raw / "Dataset501_PH2" / "source", 501, overwrite=True)
    assert (nnunet.raw / "Dataset501_PH2" / "source" / "PH2 Dataset images").is_dir()


@pytest.mark.parametrize("fault", ["bad_case", "rename"])
def test_overwrite_that_fails_leaves_what_was_there(tree, images, nnunet, monkeypatch, fault):
    convert(tree, 501)
    before = {path: path.read_bytes() for path in nnunet.raw.rglob("*") if path.is_file()}
    if fault == "bad_case":
        truncated_image(images)
    else:
        monkeypatch.setattr(pipeline, "rename_all", rename_into_a_full_disk)
    with pytest.raises((ValueError, OSError)):
        convert(tree, 501, test=2, overwrite=True)
    assert {path: path.read_bytes() for path in nnunet.raw.rglob("*") if path.is_file()} == before
    assert [path.name for path in nnunet.preprocessed.iterdir()] == ["Dataset501_PH2"]


def rename_into_a_full_disk(moves) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")
