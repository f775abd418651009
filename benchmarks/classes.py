"""Does a trainer lose a class? Each one beside nnU-Net's own, on images with many, small, or mostly absent classes.

    python benchmarks/classes.py                                the whole table: hours on two cores
    python benchmarks/classes.py --only 2-small --seeds 0       one row, one seed
    python benchmarks/classes.py --steps 600 --set '{"starts_with_class_shares": false}' --results even.json
    python benchmarks/classes.py --steps 600 --published --results published.json

Each scene is a stream of generated images: noise with one disc per class, each class in its own colour. A trainer is
made as nnU-Net makes it, with its own loss, optimiser and schedule, and takes as many training steps on the same images
as every other. New images then give the Dice per class, pooled over the images. A class is lost if its Dice is below
0.1 and `nnUNetTrainer` reaches more than 0.5 with the same images and seed.

Each training runs in its own process, on one thread. An interrupted run goes on where it ended; `--again` starts anew.
Writes benchmarks/results/classes.json and prints the table.
"""

import argparse
import json
import os
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from nnunet_mamba.catalogue import entries

RESULTS = Path(__file__).parent / "results" / "classes.json"
STOCK = "nnUNetTrainer"
TRAINERS = (STOCK, *(entry.trainer for entry in entries()))
SIZE = 64  # pixels, height and width
BATCH = 4
EPOCHS = 10
STEPS = 200
TEST_IMAGES = 48
NOISE = 0.1
LOST, LEARNED = 0.1, 0.5
SMALL_SLICEMAMBA = {"dims": [32, 64, 128, 256], "depths": [1, 1, 2, 1], "depths_decoder": [1, 1, 1, 1]}
THREADS = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "100000000000"}


@dataclass(frozen=True)
class Scene:
    """What the images show.

    Args:
        shares: of the pixels, one per class.
        present: probability that a class is in an image.
        empty: probability that nothing is in an image.
        regions: the classes are nested regions: the first is all of them, the second all but the first, and so on.
        ignore: the right fifth of each target is to be ignored.
        batch_dice: as in nnU-Net's plans.
    """

    shares: tuple[float, ...]
    present: float = 1.0
    empty: float = 0.0
    regions: bool = False
    ignore: bool = False
    batch_dice: bool = True

    @property
    def labels(self) -> dict:
        """As in dataset.json."""
        classes = range(1, len(self.shares) + 1)
        labels = {f"class{i}": [*range(i, len(self.shares) + 1)] if self.regions else i for i in classes}
        ignore = {"ignore": len(self.shares) + 1} if self.ignore else {}
        return {"background": 0} | labels | ignore


SCENES = {
    "13": Scene((0.02,) * 13),
    "5-of-all-sizes": Scene((0.1, 0.03, 0.01, 0.01, 0.001)),
    "1-tiny": Scene((0.001,)),
    "2-small-per-image": Scene((0.02, 0.01), batch_dice=False),
    "3-mostly-absent": Scene((0.03,) * 3, present=0.4),
    "regions-and-ignore": Scene((0.1, 0.02), regions=True, ignore=True),
}


def draw(scene: Scene, count: int, generator) -> tuple:
    """Images (count, 3, SIZE, SIZE) float32 and labels (count, 1, SIZE, SIZE) int64."""
    import numpy as np

    colours = np.array(np.meshgrid(*[(0, 1.2, -1.2)] * 3)).reshape(3, -1).T[1:]  # 26, all different
    rows, columns = np.mgrid[:SIZE, :SIZE]
    images = generator.normal(0, NOISE, (count, 3, SIZE, SIZE)).astype(np.float32)
    labels = np.zeros((count, SIZE, SIZE), np.int64)
    for image, label in zip(images, labels):
        if generator.random() < scene.empty:
            continue
        for number, share in enumerate(scene.shares, start=1):
            if generator.random() >= scene.present:
                continue
            radius = np.sqrt(share * SIZE**2 / np.pi)
            for _ in range(50):  # a disc on free ground, if there is any
                if scene.regions and number > 1:
                    centre = generator.choice(np.argwhere(label == number - 1)) + 0.5
                else:
                    centre = generator.uniform(radius, SIZE - radius, 2)
                disc = (rows + 0.5 - centre[0]) ** 2 + (columns + 0.5 - centre[1]) ** 2 <= max(radius, 1.0) ** 2
                if scene.regions or not label[disc].any():
                    break
            image[:, disc] = generator.normal(0, NOISE, (3, disc.sum())) + colours[number - 1][:, None]
            label[disc] = number
    if scene.ignore:
        labels[:, :, -SIZE // 5 :] = len(scene.shares) + 1
    return images, labels[:, None]


def maps(scene: Scene, labels):
    """Where each class is (count, classes, SIZE, SIZE), and which pixels count (count, 1, SIZE, SIZE); both bool."""
    import numpy as np

    classes = np.arange(1, len(scene.shares) + 1)[:, None, None]
    counted = labels <= len(scene.shares)
    return ((labels >= classes) if scene.regions else (labels == classes)) & counted, counted


def make_trainer(name: str, scene: Scene, folder: Path, steps: int = STEPS, published: bool = False):
    """The trainer as nnUNetv2_train makes it, initialized; its files go to `folder`. See `plans` for `published`."""
    import torch
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    regions = {"regions_class_order": [*range(1, len(scene.shares) + 1)]} if scene.regions else {}
    dataset = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": scene.labels,
        "file_ending": ".png",
        "numTraining": 1,
    } | regions
    data = folder / "nnUNet_preprocessed" / "Dataset001_Classes" / "nnUNetPlans_2d"
    data.mkdir(parents=True)
    (data / "none.b2nd").touch()  # tells nnU-Net the format of cases that are never read
    trainer_class = recursive_find_trainer_class_by_name(name)
    trainer = trainer_class(plans(scene, published), "2d", "all", dataset, torch.device("cpu"))
    trainer.num_epochs, trainer.num_iterations_per_epoch = EPOCHS, steps // EPOCHS
    trainer.initialize()
    return trainer


def plans(scene: Scene, published: bool = False) -> dict:
    """nnU-Net's plans for these images: a U-Net of half the usual width and, unless `published`, a small SliceMamba."""
    stages = 5
    unet = {
        "n_stages": stages,
        "features_per_stage": [16 * 2**i for i in range(stages)],
        "conv_op": "torch.nn.modules.conv.Conv2d",
        "kernel_sizes": [[3, 3]] * stages,
        "strides": [[1, 1]] + [[2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    configuration = {
        "data_identifier": "nnUNetPlans_2d",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": BATCH,
        "patch_size": [SIZE, SIZE],
        "median_image_size_in_voxels": [SIZE, SIZE],
        "spacing": [1.0, 1.0],
        "normalization_schemes": ["ZScoreNormalization"] * 3,
        "use_mask_for_norm": [False] * 3,
        "architecture": {
            "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
            "arch_kwargs": unet,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        },
        "batch_dice": scene.batch_dice,
    }
    if not published:
        configuration["slicemamba"] = SMALL_SLICEMAMBA
    return {
        "dataset_name": "Dataset001_Classes",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "NaturalImage2DIO",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "configurations": {"2d": configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {},
        "continue_training": False,
    }


def dice_after_training(
    name: str, scene: Scene, seed: int, steps: int = STEPS, settings: dict | None = None, published: bool = False
) -> list[float]:
    """Train and test; Dice per class on the test images. `settings` are attributes set on the trainer first."""
    import numpy as np
    import torch
    from torch.nn.functional import interpolate

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {name: str(Path(home, name)) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}
        trainer = make_trainer(name, scene, Path(home), steps, published)
        if settings:
            for attribute, value in settings.items():
                setattr(trainer, attribute, value)
            trainer.loss = trainer._build_loss()
        scales = trainer._get_deep_supervision_scales() if trainer.enable_deep_supervision else None
        for _ in range(EPOCHS):
            trainer.on_train_epoch_start()
            for _ in range(steps // EPOCHS):
                images, labels = draw(scene, BATCH, generator)
                target = torch.from_numpy(labels)
                if scene.regions:
                    truth, counted = maps(scene, labels)
                    target = torch.from_numpy(np.concatenate([truth, ~counted], 1) if scene.ignore else truth)
                target = target.float()
                if scales is not None:
                    sizes = [[round(SIZE * factor) for factor in scale] for scale in scales]
                    target = [interpolate(target, size, mode="nearest") for size in sizes]
                trainer.train_step({"data": torch.from_numpy(images), "target": target})
            trainer.current_epoch += 1
        return _test(trainer, scene)


def _test(trainer, scene: Scene) -> list[float]:
    import numpy as np
    import torch

    images, labels = draw(scene, TEST_IMAGES, np.random.default_rng(12345))
    truth, counted = maps(scene, labels)
    trainer.set_deep_supervision_enabled(False)
    if hasattr(trainer, "bare_network") and hasattr(trainer.bare_network, "choices"):
        trainer.bare_network.set_slicing([(4, 4)] * len(trainer.bare_network.blocks))  # a path of the supernet
    network = trainer.network.eval()
    with torch.inference_mode():
        logits = torch.cat([network(part) for part in torch.from_numpy(images).split(BATCH)])
    if scene.regions:
        predicted = (logits > 0).numpy()
    else:
        predicted = (logits.argmax(1, keepdim=True) == torch.arange(1, logits.shape[1]).view(1, -1, 1, 1)).numpy()
    predicted &= counted
    overlap, both = (predicted & truth).sum((0, 2, 3)), predicted.sum((0, 2, 3)) + truth.sum((0, 2, 3))
    return [round(float(2 * hit / max(1, total)), 4) for hit, total in zip(overlap, both)]


def _quiet(*arguments) -> list[float]:
    """`dice_after_training` in a worker, which prints nothing."""
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 -- until the process ends
    return dice_after_training(*arguments)


def summary(rows: list[dict]) -> list[dict]:
    """Per scene, number of training steps and trainer, over seeds: smallest and mean Dice, classes lost."""
    stock = {(row["scene"], row["steps"], row["seed"]): row["dice"] for row in rows if row["trainer"] == STOCK}
    groups: dict = {}
    for row in rows:
        groups.setdefault((row["scene"], row["steps"], row["trainer"]), []).append(row)
    table = []
    for (scene, steps, trainer), runs in groups.items():
        lost = sum(
            dice < LOST and of_stock > LEARNED
            for run in runs
            for dice, of_stock in zip(run["dice"], stock.get((scene, steps, run["seed"]), ()))
        )
        every = [dice for run in runs for dice in run["dice"]]
        row = {"scene": scene, "steps": steps, "trainer": trainer, "smallest": [min(run["dice"]) for run in runs]}
        table.append(row | {"mean": sum(every) / len(every), "lost": lost, "classes": len(every)})
    return table


def markdown(rows: list[dict]) -> str:
    lines = [
        "| scene | steps | trainer | smallest class, per seed | mean | lost |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in summary(rows):
        smallest = ", ".join(f"{dice:.2f}" for dice in row["smallest"])
        lines.append(
            f"| {row['scene']} | {row['steps']} | `{row['trainer']}` | {smallest} | {row['mean']:.2f} "
            f"| {row['lost']} of {row['classes']} |"
        )
    return "\n".join(lines)


def key(row: dict) -> tuple:
    return row["seed"], list(SCENES).index(row["scene"]), row["steps"], TRAINERS.index(row["trainer"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES), metavar="SCENE")
    parser.add_argument("--trainers", nargs="+", choices=TRAINERS, default=TRAINERS, metavar="TRAINER")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    parser.add_argument(
        "--set", type=json.loads, default={}, help='attributes of the trainers, {"asfm_index": "product"}'
    )
    parser.add_argument("--published", action="store_true", help="SliceMamba of the published size: seven times slower")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--again", action="store_true", help="forget the results of earlier runs")
    args = parser.parse_args()
    if (args.set or args.published) and args.results == RESULTS:
        parser.error("--set and --published train otherwise than the table says: give them a file by --results")
    os.environ |= THREADS
    rows = json.loads(args.results.read_text())["runs"] if args.results.exists() and not args.again else []
    done = {key(row) for row in rows}
    wanted = [
        {"scene": scene, "steps": args.steps, "trainer": trainer, "seed": seed}
        for seed in args.seeds
        for scene in args.only
        for trainer in args.trainers
    ]
    with ProcessPoolExecutor(args.processes, get_context("spawn"), max_tasks_per_child=1) as pool:
        futures = {
            pool.submit(
                _quiet, row["trainer"], SCENES[row["scene"]], row["seed"], row["steps"], args.set, args.published
            ): row
            for row in wanted
            if key(row) not in done
        }
        for number, future in enumerate(as_completed(futures), start=1):
            row = futures[future] | {"dice": future.result()}
            print(f"{number}/{len(futures)} {row}", flush=True)
            rows = sorted([*rows, row], key=key)
            scenes = {name: asdict(SCENES[name]) for name in SCENES}
            args.results.write_text(json.dumps({"scenes": scenes, "runs": rows}, indent=1))
    print(markdown(rows))


if __name__ == "__main__":
    main()
