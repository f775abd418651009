"""What a training of benchmarks/accuracy leaves for its results, without the training."""

import json

PART = {
    "command": "nnUNetv2_train 501 2d 0",
    "commit": "a",
    "versions": {},
    "started": "1",
    "device": "cpu",
    "processor": "CPU (AVX2)",
    "threads": 1,
    "first_epoch": 0,
    "steps": 500,
    "seconds_per_step": 0.25,
    "peak_bytes": 100,
}


def record_of(run, *parts):
    """What the trainer of `run` writes down; `parts` are the times that it was begun and gone on with."""
    column = run.column
    return {
        "seed": run.seed,
        "epochs": column.epochs,
        "images_seen": column.images_seen,
        "patch_size": list(column.patch),
        "batch_size": column.batch,
        "parameters": 9,
        "runs": list(parts),
    }


def leave_plans(run, trained, preprocessed):
    """The plans in the model's folder and those that they are checked against."""
    planned = json.dumps({"configurations": {"2d": {"batch_size": run.column.batch}}})
    for file in (trained.parent / "plans.json", preprocessed / f"{run.plans}.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(planned)
