"""The demo's commands, the same that users type for their own data."""

from typing import NamedTuple

from nnunet_mamba import catalogue

TRAINER = f"{catalogue.NETWORKS[0].trainer}_demo"
DATASET = "Dataset501_PH2"
RAW = f"nnUNet_raw/{DATASET}"
TRAINED = f"nnUNet_results/{DATASET}/{TRAINER}__nnUNetPlans__2d/fold_0"
PREDICTIONS = "pred"
REPORT = "report"
TEST_CASES = 8


class Step(NamedTuple):
    """One command to run in the demo's folder; paths are relative to it.

    `clears` lists folders that an interrupted run may have left and that must be deleted first.
    """

    name: str
    title: str
    command: list[str]
    clears: tuple[str, ...] = ()


def command_steps(device: str) -> list[Step]:
    """The commands that follow the phantom; `device` is cpu, cuda or mps."""
    data = ["-d", "501", "-c", "2d"]
    # one worker process each: importing torch takes longer than the work on a few small images
    return [
        Step(
            "convert",
            "the data set into nnU-Net's raw format",
            ["nnunet_mamba", "convert", "PH2", "-i", "PH2Dataset", "-d", "501", "--test", str(TEST_CASES)],
            clears=(RAW, f"nnUNet_preprocessed/{DATASET}"),
        ),
        Step(
            "plan",
            "and preprocess, by nnU-Net",
            ["nnUNetv2_plan_and_preprocess", *data, "--verify_dataset_integrity", "-npfp", "1", "-np", "1"],
        ),
        Step(
            "train",
            "DA-MambaNet for a few short epochs",
            ["nnUNetv2_train", "501", "2d", "0", "-tr", TRAINER, "-device", device],
        ),
        Step(
            "predict",
            f"{TEST_CASES} held-out images",
            [
                "nnUNetv2_predict",
                *data,
                "-f",
                "0",
                "-tr",
                TRAINER,
                "-i",
                f"{RAW}/imagesTs",
                "-o",
                PREDICTIONS,
                "-device",
                device,
                "-npp",
                "1",
                "-nps",
                "1",
            ],
        ),
        Step(
            "evaluate",
            "the predictions against the truth",
            ["nnUNetv2_evaluate_simple", f"{RAW}/labelsTs", PREDICTIONS, "-l", "1", "-np", "1"],
        ),
        Step(
            "report",
            "on one page",
            [
                "nnunet_mamba",
                "report",
                "--pred",
                PREDICTIONS,
                "--gt",
                f"{RAW}/labelsTs",
                "--images",
                f"{RAW}/imagesTs",
                "--names",
                TRAINER,
                "-o",
                REPORT,
                "-np",
                "1",
            ],
        ),
    ]
