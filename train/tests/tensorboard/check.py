"""Reads a run's events with TensorBoard's own reader and compares every value with metrics.csv.

    pip install -r train/tests/tensorboard/requirements.txt
    python train/tests/tensorboard/check.py runs/quickstart
"""

import csv
import math
import pathlib
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

COLUMNS = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "loss/validation_ema": "ema_validation_loss",
    "bits_per_byte/validation": "validation_bits_per_byte",
    "perplexity/validation": "validation_perplexity",
    "optimizer/learning_rate": "learning_rate",
    "optimizer/weight_decay": "weight_decay",
    "optimizer/gradient_norm": "gradient_norm",
    "speed/tokens_per_second": "tokens_per_second",
    "speed/model_flops_utilization": "model_flops_utilization",
    "speed/resident_bytes": "resident_bytes",
    "quantization/zeros": "zeros",
    "quantization/flip_rate": "flip_rate",
    "quantization/scale": "scale",
    "quantization/near_threshold": "near_threshold",
    "quantization/saturated": "saturated",
}
# No column of its own: exp(train_loss).
WITHOUT_COLUMN = {"perplexity/train"}


def main(run):
    # 0: keep all of them, instead of a sample.
    events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    written = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    # Newer writers put scalars among the tensors.
    for tag in tags["tensors"]:
        if tag in COLUMNS or tag in WITHOUT_COLUMN:
            proto = [(e.step, e.tensor_proto) for e in events.Tensors(tag)]
            written[tag] = [(step, value.float_val[0]) for step, value in proto]

    with open(run / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    unknown = set(written) - set(COLUMNS) - WITHOUT_COLUMN
    assert not unknown, f"unknown tags: {sorted(unknown)}"
    values = 0
    for tag, column in COLUMNS.items():
        expected = [(int(row["step"]), float(row[column])) for row in rows if row[column]]
        found = written.get(tag, [])
        steps = [[step for step, _ in series] for series in (found, expected)]
        assert steps[0] == steps[1], f"{tag}: steps {steps[0]} instead of {steps[1]}"
        for (step, ours), (_, theirs) in zip(found, expected):
            # Events hold 32 bits.
            assert math.isclose(ours, theirs, rel_tol=1e-6, abs_tol=1e-30), (tag, step, ours, theirs)
        values += len(found)
    assert values > 0, "there is nothing to compare"
    samples = sum(len(events.Tensors(tag)) for tag in tags["tensors"] if tag.startswith("sample"))
    files = len(list((run / "samples").iterdir()))
    assert samples == files, f"{samples} samples in the events, {files} in samples/"
    print(f"{values} values of {len(written)} tags and {samples} samples are those of {run}")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
