#!/usr/bin/env python3
"""Turns folders of novels into token ids and the tokenizer that made them, and mixes in documents that
scripts/documents.py makes up.

    scripts/corpus.py TRAIN_DIR VALID_DIR OUT_DIR [--vocab 4096] [--made 0.4] [--context 256]

Every .txt file is one document. Lines that were wrapped for print are joined again, so that a paragraph is one line and
paragraphs are one blank line apart. A byte-level BPE is learnt from the training text, with GPT-2's pre-tokenizer, and
both splits are encoded with it; every digit is a token of its own, so that any number can be copied. Made-up documents
are a share of the training tokens, and each fits a window of the context. OUT_DIR then holds

    tokenizer.json           for the `tokenizers` library, and for the export of scripts/train.py
    train.npz, valid.npz     ids: uint16, <|endoftext|> before every document;  starts: where in them windows may begin:
                             paragraphs of novels, and made-up documents;  answers: from where to where in ids the last
                             answers of the made-up documents stand
    made.npz                 the same of made-up documents that are not for training, with kinds, which documents.KINDS
                             each is of
"""

import argparse
import random
import re
import statistics
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

import documents as made_up

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


def sentences(documents):
    """What made-up documents hide things in: the sentences of the novels that are neither words nor pages."""
    found = (re.split(r"(?<=[.!?]) (?=[A-Z])", paragraph) for document in documents for paragraph in document)
    return [sentence for some in found for sentence in some if 20 <= len(sentence) <= 160 and sentence[-1] in ".!?"]


def train_tokenizer(texts, vocab_size):
    tokenizer = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    # Digits are apart only while it learns: no merge has a digit then, and they stay apart by themselves.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, made_up.TURN_START, made_up.TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = byte_level
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


def make_documents(seeds, prose):
    """One document a seed, of sizes that mostly fit 256 tokens and often fill them."""
    for seed in seeds:
        rng = random.Random(seed)
        yield made_up.make(rng.choice(made_up.KINDS), rng, rng.randint(300, 1100), prose)


def encode_made(tokenizer, documents, context, n_tokens):
    """(ids, starts, answers, kinds) of those of the documents that fit the context, up to so many tokens."""
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    ids, starts, answers, kinds, length = [], [], [], [], 0
    for document in documents:
        whole = tokenizer.encode(document.text).ids
        if len(whole) >= context:  # <|endoftext|> stands in the window, too
            continue
        starts.append(length + 1)
        answers.append((starts[-1] + len(tokenizer.encode(document.prompt).ids), starts[-1] + len(whole)))
        kinds.append(made_up.KINDS.index(document.kind))
        ids += [end_of_text, *whole]
        length = len(ids)
        if length >= n_tokens:
            break
    return np.array(ids, np.uint16), np.array(starts), np.array(answers), np.array(kinds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train_dir", type=Path)
    parser.add_argument("valid_dir", type=Path)
    parser.add_argument("out_dir", type=Path)
    parser.add_argument("--vocab", type=int, default=4096, help="tokens, %(default)s unless told")
    parser.add_argument("--made", type=float, default=0.4, help="share of made-up documents, %(default)s unless told")
    parser.add_argument("--context", type=int, default=256, help="tokens that each must fit, %(default)s unless told")
    options = parser.parse_args()
    if not 300 <= options.vocab <= 65536:
        parser.error(f"--vocab {options.vocab}: from 300 (bytes and what is special) to 65536 (what uint16 holds)")
    if not 0 <= options.made < 1:
        parser.error(f"--made {options.made}: from 0 to less than 1")

    options.out_dir.mkdir(parents=True, exist_ok=True)
    train, valid = read_documents(options.train_dir), read_documents(options.valid_dir)
    train_prose, valid_prose = sentences(train), sentences(valid)
    texts = [PARAGRAPH_BREAK.join(document) for document in train]
    texts += [document.text for document in make_documents(made_up.TRAINING_SEEDS[:2000], train_prose)]
    tokenizer = train_tokenizer(texts, options.vocab)
    tokenizer.save(str(options.out_dir / "tokenizer.json"))

    for split, novels in ("train", train), ("valid", valid):
        ids, starts = encode(tokenizer, novels)
        n_bytes = sum(len(paragraph.encode()) for document in novels for paragraph in document)
        print(
            f"{split}: {len(novels)} novels, {len(starts)} paragraphs, {len(ids)} tokens, "
            f"{n_bytes / len(ids):.2f} bytes a token"
        )
        answers = np.zeros((0, 2), int)
        if split == "train" and options.made > 0:
            documents = make_documents(made_up.TRAINING_SEEDS, train_prose)
            n_tokens = options.made / (1 - options.made) * len(ids)
            made_ids, made_starts, answers, _ = encode_made(tokenizer, documents, options.context, n_tokens)
            print(f"{split}: {len(made_starts)} documents made up, {len(made_ids)} tokens")
            starts = np.concatenate((starts, made_starts + len(ids)))
            answers += len(ids)
            ids = np.concatenate((ids, made_ids))
        np.savez(options.out_dir / f"{split}.npz", ids=ids, starts=starts, answers=answers)
    documents = make_documents(range(512), valid_prose)
    ids, starts, answers, kinds = encode_made(tokenizer, documents, options.context, np.inf)
    np.savez(options.out_dir / "made.npz", ids=ids, starts=starts, answers=answers, kinds=kinds)


if __name__ == "__main__":
    main()
