#!/usr/bin/env python3
"""Writes into models/README.md what the models that ship are and how they were trained: what `longhand info` says of a
file, and what the loss beside it says of its training.

    scripts/model_card.py [--models FOLDER]
"""

import argparse
import csv
from pathlib import Path

from report import ROOT, longhand, put, table


def losses(model):
    """The rows of its training, or none."""
    path = model.with_suffix(".csv")
    if not path.exists():
        return []
    with open(path, encoding="utf-8") as file:
        return list(csv.DictReader(file))


def decay_steps(rows):
    """Over which the learning rate fell, from the last row that has all of it on."""
    peak = max(float(row["learning_rate"]) for row in rows)
    full = [int(row["step"]) for row in rows if float(row["learning_rate"]) == peak]
    return int(rows[-1]["step"]) - full[-1]


def card(model):
    info = longhand("info", "-m", model, "--json")[0]
    size = f"{model.stat().st_size / 1e6:.2f} MB"
    positions = "; ".join(scheme["description"] for scheme in info["positions"])
    row = [f"[{model.stem}]({model.name})" if model.parent.name == "models" else model.stem, positions, size]
    if not (rows := losses(model)):
        return [*row, *["-"] * 6]
    last, decay = rows[-1], decay_steps(rows)
    right = f"{100 * float(last['answers_right']):.0f} %" if "answers_right" in last else "-"
    return [*row, f"{int(last['step']) - decay:,} + {decay:,}", f"{int(last['tokens']) / 1e6:.2f} M", last["minutes"],
            f"{float(last['train_loss']):.2f}", f"{float(last['valid_loss']):.2f}", right]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=ROOT / "models", help="%(default)s unless told")
    options = parser.parse_args()
    head = ["model", "positions", "file", "steps, and of decay", "tokens", "minutes", "loss", "of novels", "answers"]
    for name, folder in (("models", options.models), ("family", options.models / "family")):
        models = sorted(folder.glob("*.gguf"))
        put(options.models / "README.md", name, table(head, map(card, models), left=2))


if __name__ == "__main__":
    main()
