"""Folders of true and predicted masks with their images, generated, for reports."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("plain", "<script>alert(1)<img src=x onerror=alert(2)>", "quote\"'&amp;", "naïve 皮膚 ünï", "a'b`${1}", "last")


def disc(size, centre, radius):
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2


def write_folders(root: Path, tools=("first", "second"), names=NAMES, size=(48, 64), foreground=1) -> dict[str, Path]:
    """Folders gt, images and one per tool; the n-th tool is n pixels off, more in later cases. Returns their paths."""
    generator = np.random.default_rng(0)
    folders = {name: root / name for name in ("gt", "images", *tools)}
    for folder in folders.values():
        folder.mkdir(parents=True)
    for number, name in enumerate(names):
        truth = disc(size, (24, 30), 12)
        image = generator.integers(60, 120, (*size, 3)) + 80 * truth[..., None]
        save(folders["images"] / f"{name}.png", image)
        save(folders["gt"] / f"{name}.png", truth * foreground)
        for tool, folder in enumerate(tools):
            shifted = disc(size, (24, 30 + tool + number), 12)
            save(folders[folder] / f"{name}.png", shifted * foreground)
    return folders


def save(file: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels.astype(np.uint8)).save(file)


def write_trained(home: Path, trainers, names=tuple(f"case{i}" for i in range(6)), folds=2, labels=None) -> Path:
    """nnU-Net's three folders with the validations of `trainers`; returns the results' folder of the data set."""
    raw, preprocessed, results = (home / part / "Dataset007_Discs" for part in ("raw", "preprocessed", "results"))
    made = write_folders(home / "made", trainers, names)
    (raw / "labelsTr").mkdir(parents=True)
    (raw / "imagesTr").mkdir()
    for name in names:
        (made["gt"] / f"{name}.png").rename(raw / "labelsTr" / f"{name}.png")
        (made["images"] / f"{name}.png").rename(raw / "imagesTr" / f"{name}_0000.png")
    splits = [
        {"train": [n for i, n in enumerate(names) if i % folds != fold], "val": list(names[fold::folds])}
        for fold in range(folds)
    ]
    preprocessed.mkdir(parents=True)
    (preprocessed / "splits_final.json").write_text(json.dumps(splits))
    written = [{"case": name, "group": f"patient {i // folds}"} for i, name in enumerate(names)]
    (raw / "conversion_report.json").write_text(json.dumps({"data_set": "Discs", "written": written}))
    description = {
        "labels": labels or {"background": 0, "disc": 1},
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "file_ending": ".png",
    }
    for trainer in trainers:
        model = results / f"{trainer}__nnUNetPlans__2d"
        for fold, split in enumerate(splits):
            folder = model / f"fold_{fold}" / "validation"
            folder.mkdir(parents=True)
            for name in split["val"]:
                (made[trainer] / f"{name}.png").rename(folder / f"{name}.png")
        (model / "dataset.json").write_text(json.dumps(description))
    return results
