#!/usr/bin/env python3
"""Turns folders of novels into token ids and the tokenizer that made them.

    scripts/corpus.py TRAIN_DIR VALID_DIR OUT_DIR [--vocab 4096]

Every .txt file is one document. Lines that were wrapped for print are joined again, so that a paragraph is one line and
paragraphs are one blank line apart. A byte-level BPE is learnt from the training text, with GPT-2's pre-tokenizer, and
both splits are encoded with it. OUT_DIR then holds

    tokenizer.json           for the `tokenizers` library, and for the export of scripts/train.py
    train.npz, valid.npz     ids: uint16, <|endoftext|> before every document;  starts: where in them paragraphs begin
"""

import argparse
import statistics
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

END_OF_TEXT = "<|endoftext|>"
PARAGRAPH_BREAK = "\n\n"
WIDEST_WRAP = 110  # characters; a file whose typical line is longer has one paragraph a line


def paragraphs(text):
    """The text's paragraphs, each on one line, whether blank lines set them apart or only a short last line did."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    if not any(lines):
        return []
    typical = statistics.median(len(line) for line in lines if line)
    # A few blank lines are those of the title page and the chapter heads; many mean one between all paragraphs.
    blank_between_paragraphs = sum(not line for line in lines) > 0.05 * len(lines)

    def continues(line, following):
        if following[0].islower():
            return True
        if typical > WIDEST_WRAP:
            return False
        # A line was broken because the next word did not fit. Where it would have fitted, the paragraph ended.
        return blank_between_paragraphs or len(line) + 1 + len(following.split(" ", 1)[0]) > typical

    joined, previous = [], ""
    for line in lines:
        if line and previous and continues(previous, line):
            joined[-1] += " " + line
        elif line:
            joined.append(line)
        previous = line
    return joined


def read_documents(folder):
    """Every .txt file of the folder, in order of name, as a list of paragraphs."""
    files = sorted(Path(folder).glob("*.txt"))
    if not files:
        raise SystemExit(f"{folder}: no .txt files")
    return [paragraphs(file.read_text(encoding="utf-8")) for file in files]


def train_tokenizer(documents, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((PARAGRAPH_BREAK.join(document) for document in documents), trainer)
    return tokenizer


def encode(tokenizer, documents):
    """(ids, starts) of all documents in one row."""
    end_of_text = [tokenizer.token_to_id(END_OF_TEXT)]
    # GPT-2's pre-tokenizer never lets a token reach across a line break, so paragraphs can be encoded one by one.
    paragraph_break = tokenizer.encode(PARAGRAPH_BREAK).ids
    ids, starts, length = [], [], 0
    for document in documents:
        separator = end_of_text
        for encoding in tokenizer.encode_batch_fast(document):
            ids += [separator, encoding.ids]
            starts.append(length + len(separator))
            length = starts[-1] + len(encoding.ids)
            separator = paragraph_break
    return np.concatenate(ids).astype(np.uint16), np.array(starts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train_dir", type=Path)
    parser.add_argument("valid_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--vocab", type=int, default=4096, help="tokens, %(default)s unless told")
    options = parser.parse_args()
    if not 257 <= options.vocab <= 65536:
        parser.error(f"--vocab {options.vocab}: from 257 (bytes and {END_OF_TEXT}) to 65536 (what uint16 holds)")

    options.out_dir.mkdir(parents=True, exist_ok=True)
    train = read_documents(options.train_dir)
    tokenizer = train_tokenizer(train, options.vocab)
    tokenizer.save(str(options.out_dir / "tokenizer.json"))
    for split, documents in ("train", train), ("valid", read_documents(options.valid_dir)):
        ids, starts = encode(tokenizer, documents)
        np.savez(options.out_dir / f"{split}.npz", ids=ids, starts=starts)
        n_bytes = sum(len(paragraph.encode()) for document in documents for paragraph in document)
        print(
            f"{split}: {len(documents)} documents, {len(starts)} paragraphs, {len(ids)} tokens, "
            f"{n_bytes / len(ids):.2f} bytes a token"
        )


if __name__ == "__main__":
    main()
