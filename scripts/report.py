"""What scripts share that measure with the program and keep the results in docs/: running it, tables and numbers in
Markdown, pages with parts that a script writes, the machine in words."""

import csv
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "longhand"
DATA = Path(os.environ.get("LONGHAND_SHARED", ROOT / ".." / "shared")) / "data"


def longhand(*arguments):
    """The objects that the program prints. What could not be measured is an object with an "error" among them; an
    error that stands for nothing printed is one of ours."""
    command = [str(PROGRAM), *map(str, arguments)]
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    if run.returncode not in (0, 1) or run.returncode == 1 and not found:
        raise SystemExit(run.returncode)  # the program has said why
    return found


def longhand_logits(model, ids, program=ROOT / "build" / "logits"):
    """(ids, vocabulary) in float32, of the program that `make build/logits` builds."""
    with tempfile.TemporaryDirectory() as folder:
        ids_path, logits_path = Path(folder, "ids"), Path(folder, "logits")
        np.array(ids, dtype="<i4").tofile(ids_path)
        subprocess.run([program, model, ids_path, logits_path], check=True)
        return np.fromfile(logits_path, dtype="<f4").reshape(len(ids), -1)


def write_expected(path, ids, logits):
    """ids (n) and logits (n, vocabulary), as tests/model/fixture.c reads them."""
    with open(path, "wb") as file:
        np.array(logits.shape, dtype="<i4").tofile(file)
        ids.astype("<i4").tofile(file)
        logits.astype("<f4").tofile(file)


def write_csv(path, rows):
    """Rows are dicts with the same keys."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, fieldnames=rows[0].keys(), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def digits(x):
    """Four significant digits, as numbers of a text have them."""
    if x is None:
        return "-"
    if x >= 10000:
        return f"{float(f'{x:.3g}'):,.0f}"
    return f"{x:,.{max(0, 4 - len(str(int(x))))}f}"


def table(head, rows, left=1):
    """Markdown; all columns but the first `left` hold numbers."""
    rule = ["---"] * left + ["---:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in (head, rule, *rows))


def put(page, name, text):
    """Replaces what stands between the marks of this name in a page."""
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before = page.read_text(encoding="utf-8")
    if begin not in before or end not in before:
        raise SystemExit(f"{page}: expected a line {begin} and, behind it, a line {end}")
    head, rest = before.split(begin, 1)
    after = f"{head}{begin}\n{text}\n{end}{rest.split(end, 1)[1]}"
    if after != before:
        page.write_text(after, encoding="utf-8")


def machine():
    """Its processor and how many threads of it there are."""
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    name = re.sub(r"\((R|TM)\)", "", found[1]).strip() if found else os.uname().machine
    return f"{len(os.sched_getaffinity(0))} threads of {name}"
