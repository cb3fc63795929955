#!/usr/bin/env python3
"""Trains models that are equal in everything but their position scheme, taking turns, and exports them.

    scripts/train_family.py CORPUS_DIR FAMILY_DIR --steps 5000 [--slice 100] [--members rope,alibi]
        [--begin-with MODELS_DIR]       on from models that were exported, where no checkpoint is
    scripts/train_family.py CORPUS_DIR FAMILY_DIR --decay 400 --export MODELS_DIR

The first line trains every member on to this step, a slice of steps each in turn, so that an interrupted run leaves all
of them equally far; the same line again goes on. The second branches a decay off from every member where it stands
(FAMILY_DIR/NAME-decay, see scripts/train.py), and writes MODELS_DIR/NAME.gguf with its loss, NAME.csv. Shape and
schedule are options of scripts/train.py, and the defaults are the family's.
"""

import argparse
from pathlib import Path

import train

MEMBERS = {
    "none": "none",
    "sinusoidal": "sinusoidal",
    "learned": "learned",
    "rope": "rope",
    "alibi": "alibi",
    "t5": "t5",
    "transformer-xl": "transformer-xl",
    "disentangled": "disentangled",
    "kerple": "kerple",
    "rope-nope": "rope,rope,rope,none",
}


def take_turns(runs, end, slice_steps, valid_windows):
    """Trains every run until its step end(run)."""
    while unfinished := [run for run in runs if run.step < end(run)]:
        run = min(unfinished, key=lambda run: run.step)  # the first of those that are furthest behind
        run.train_until(min(end(run), run.step + slice_steps), slice_steps, valid_windows)


def decay_end(run):
    return run.schedule.decay_from + run.schedule.decay_steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus_dir", type=Path)
    parser.add_argument("family_dir", type=Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--steps", type=int, help="to train until, in all")
    what.add_argument("--decay", type=int, help="steps to train on, with a learning rate that falls")
    parser.add_argument("--export", type=Path, metavar="MODELS_DIR", help="with --decay: where the models go")
    parser.add_argument("--begin-with", type=Path, metavar="MODELS_DIR", help="with --steps: on from exported models")
    parser.add_argument("--slice", type=int, default=100, help="steps of one turn, %(default)s unless told")
    parser.add_argument("--members", default=",".join(MEMBERS), help="%(default)s unless told")
    parser.add_argument("--valid-windows", type=int, default=64, help="of an evaluation, %(default)s unless told")
    parser.add_argument("--device", default="auto", help="cpu, cuda, or auto: cuda where there is one")
    train.add_fields(
        parser.add_argument_group("what all members have in common"),
        {name: field for name, field in (train.SHAPE_OPTIONS | train.SCHEDULE_OPTIONS).items() if name != "position"},
    )
    options = parser.parse_args()
    names = options.members.split(",")
    if unknown := set(names) - set(MEMBERS):
        parser.error(f"--members: no {', '.join(unknown)}; there are {', '.join(MEMBERS)}")

    device = train.prepare(options)
    folders = [options.family_dir / name for name in names]
    if options.steps:
        n_tokens = len(train.vocabulary((options.corpus_dir / "tokenizer.json").read_text(encoding="utf-8"))[0])
        shape = train.given(options, train.SHAPE_OPTIONS)
        schedule = train.Schedule(**train.given(options, train.SCHEDULE_OPTIONS))
        configs = [train.Config(vocab_size=n_tokens, position=MEMBERS[name], **shape) for name in names]
        corpus = train.Corpus(options.corpus_dir, configs[0].seq_len, device)
        runs = []
        for name, folder, config in zip(names, folders, configs):
            shipped = options.begin_with and options.begin_with / f"{name}.gguf"
            beginning = train.exported(shipped, config, corpus) if shipped else None
            runs.append(train.Run(folder, corpus, config, schedule, device, beginning))
        take_turns(runs, lambda run: options.steps, options.slice, options.valid_windows)
        return
    corpus = train.Corpus(options.corpus_dir, train.seq_len_of(folders[0]), device)
    decayed = [folder.with_name(f"{folder.name}-decay") for folder in folders]
    runs = [train.decayed(*pair, corpus, options.decay, device) for pair in zip(folders, decayed)]
    take_turns(runs, decay_end, options.slice, options.valid_windows)
    if options.export:
        options.export.mkdir(parents=True, exist_ok=True)
        for name, folder in zip(names, decayed):
            train.main(["export", str(folder), str(options.export / f"{name}.gguf")])


if __name__ == "__main__":
    main()
