#!/usr/bin/env python3
"""Documents made up by a seeded generator, of which it is known what is true in them: what a small model can learn, and
be asked, at any length.

    document = make(kind, random.Random(seed), size, prose)      size in characters, prose: sentences to hide things in
    document = make_tokens(kind, seed, n, count, prose)          n tokens at most, as count(text) counts them
    scripts/documents.py KIND SEED SIZE                          prints it as JSON

    passkey   a key somewhere in a filler, and the question for it (the wording of Mohtashami & Jaggi 2023, and others)
    log       events in order of time, and questions about them
    report    facts among what matters little, and a summary that lists them
    dialogue  a conversation in the ChatML form; what was said before is asked for again

A document is as long as asked for but for a few sentences, and never shorter than its least content. The same seed
gives the same document. Names and things are of few kinds and combine freely, so other seeds are other documents: the
seeds of TRAINING_SEEDS are for training, all others are for tests.
"""

import argparse
import dataclasses
import json
import random

KINDS = ("passkey", "log", "report", "dialogue")
TRAINING_SEEDS = range(10**9, 2 * 10**9)

TURN_START, TURN_END = "<|im_start|>", "<|im_end|>"


@dataclasses.dataclass
class Document:
    kind: str
    text: str  # all of it, answers included, with the marks of turns where it is a conversation
    prompt: str  # what of it stands before the last answer
    questions: list  # (question, answer) in the order in which the text asks them
    facts: list  # what the summary of a report must say, as strings that stand in the text and in the summary


# --- Words ------------------------------------------------------------------------------------------------------------

PEOPLE = (
    "Anna Arthur Beatrice Charles Clara Daniel Dorothy Edward Eleanor Emily Felix Frances George Grace Harold Helen "
    "Henry Ida James Jane John Julia Kate Lewis Lucy Mabel Martin Mary Nora Oliver Oscar Paul Peter Philip Rachel "
    "Robert Rose Ruth Samuel Sarah Simon Sophia Stephen Susan Thomas Victor Walter William"
).split()
THINGS = (
    "apple basket bell blanket book bottle box broom brush bucket candle carpet chair clock coat coin comb cup desk "
    "drum fan flag flute glass glove hammer hat helmet jar jug kettle key knife ladder lamp letter map medal mirror "
    "needle net notebook paper pear pen pipe plate pot purse ribbon ring rope saddle scarf shoe shovel spoon stamp "
    "stick sword tray trunk umbrella vase violin watch whistle"
).split()
PLACES = (
    "attic barn bathroom bedroom boat cabin cellar chapel church corridor cottage garden garage hall harbour hut inn "
    "kitchen laundry library market mill office orchard pantry park parlour school shed shop stable station studio "
    "study tower theatre workshop yard"
).split()
TOWNS = (
    "Athens Bergen Berlin Bombay Boston Bristol Cairo Calais Cork Dover Dublin Genoa Geneva Hamburg Hull Leeds Lisbon "
    "London Lyons Madrid Malta Milan Naples Oporto Oxford Paris Rome Venice Vienna York"
).split()
GOODS = (
    "apples barley bricks butter cheese coal coffee copper corn cotton fish flour glass hay honey iron ivory leather "
    "linen oil oranges paper pepper rice rum salt silk sugar tea timber tobacco wheat wine wool"
).split()
SHIPS = (
    "Albatross Arrow Aurora Bluebell Comet Diana Dolphin Eagle Falcon Fortune Hope Juno Lark Marigold Mercury Minerva "
    "Neptune Orion Pearl Phoenix Raven Sparrow Star Swallow Swan Triton Venture Victory"
).split()
COLOURS = (
    "black blue brown crimson golden green grey orange pink purple red silver violet white yellow"
).split()
ANIMALS = (
    "cat cow dog donkey duck fox goat goose hare hen horse lamb mouse owl parrot pig pony rabbit sheep spider"
).split()
DAYS = (
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday"
).split()
TRADES = (
    "baker barber blacksmith butcher captain carpenter clerk cook doctor driver farmer fisherman gardener judge "
    "lawyer mason miller nurse painter pilot porter printer sailor shepherd singer soldier tailor teacher weaver "
    "writer"
).split()
NUMBERS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
).split()


def number(rng, n_digits):
    return "".join(rng.choice("0123456789" if i else "123456789") for i in range(n_digits))


def capital(text):
    return text[0].upper() + text[1:]


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


# --- Passkeys ---------------------------------------------------------------------------------------------------------

OPENING = (
    "There is an important info hidden inside a lot of irrelevant text. Find it and memorize it. "
    "I will quiz you about the important information there."
)
OPENINGS = (
    OPENING, OPENING.replace("memorize it", "memorize them"), "",
    "Somewhere in the text that follows stands a thing to remember. Read with care.",
)
GRASS = (
    "The grass is green.", "The sky is blue.", "The sun is yellow.", "Here we go.", "There and back again.",
)
KEYS = {  # what is hidden, and how one is drawn
    "pass key": lambda rng: number(rng, 5),
    "secret number": lambda rng: number(rng, rng.randint(3, 6)),
    "code of the door": lambda rng: number(rng, 4),
    "number of the safe": lambda rng: "-".join(number(rng, 2) for _ in range(3)),
    "password": lambda rng: f"{rng.choice(COLOURS)} {rng.choice(ANIMALS)}",
    "name of the captain": lambda rng: f"{rng.choice(PEOPLE)} {rng.choice(COLOURS).title()}",
}


def needle(noun, key):
    return f"The {noun} is {key}. Remember it. {capital(key)} is the {noun}."


def filler(rng, size, prose):
    """Sentences of `size` characters: the same five again and again, or prose from any place on."""
    sentences, length = [], 0
    source, place = (GRASS, 0) if not prose or rng.random() < 0.6 else (prose, rng.randrange(len(prose)))
    while length < size:
        sentences.append(source[place % len(source)])
        length += len(sentences[-1]) + 1
        place += 1
    return sentences


def passkey(rng, size, prose):
    nouns = ["pass key"] if rng.random() < 0.6 else rng.sample(sorted(KEYS), rng.choice((1, 1, 2, 3)))
    keys = {noun: KEYS[noun](rng) for noun in nouns}
    opening = rng.choice(OPENINGS)
    needles = [needle(noun, key) for noun, key in keys.items()]
    asked = rng.sample(nouns, rng.randint(1, len(nouns)))
    questions = [(f"What is the {noun}? The {noun} is", keys[noun]) for noun in asked]
    said = len(opening) + sum(len(text) + 1 for text in needles) + sum(len(q) + len(a) + 3 for q, a in questions)
    sentences = filler(rng, max(0, size - said), prose)
    for text in needles:
        sentences.insert(rng.randint(0, len(sentences)), text)
    blank = rng.choice((" ", " ", "\n"))
    text = blank.join(([opening] if opening else []) + [" ".join(sentences)])
    return ask(Document("passkey", text, "", questions, []), blank, "", " ", ".")


def ask(document, before_question, question_mark, before_answer, after_answer):
    """The document with its questions and answers at its end."""
    for question, answer in document.questions:
        document.prompt = document.text + before_question + question_mark + question + before_answer.rstrip(" ")
        document.text += before_question + question_mark + question + before_answer + answer + after_answer
    return document


# --- Logs -------------------------------------------------------------------------------------------------------------

MOVES = (("put", "put"), ("left", "leave"), ("found", "find"), ("hid", "hide"), ("saw", "see"))


def clock(minute):
    return f"{minute // 60 % 24:02}:{minute % 60:02}"


class Events:
    """Lines of a log, no two with the same thing as long as there are things, and never with the same person too."""

    def __init__(self, rng):
        self.rng = rng
        self.minute = rng.randrange(5 * 60, 10 * 60)
        things = rng.sample(THINGS, len(THINGS))
        people = rng.sample(PEOPLE, len(PEOPLE))
        self.things = ((thing, people[(i + turn) % len(people)]) for turn in range(len(people))
                       for i, thing in enumerate(things))
        self.n_things = {}

    def next(self):
        """(line, questions about it)"""
        thing, person = next(self.things)
        place, (past, verb) = self.rng.choice(PLACES), self.rng.choice(MOVES)
        self.minute += self.rng.randrange(1, 30)
        self.n_things[thing] = self.n_things.get(thing, 0) + 1
        time = clock(self.minute)
        line = f"{time} {person} {past} the {thing} in the {place}."
        return line, thing, [
            (f"Where did {person} {verb} the {thing}?", f"In the {place}."),
            (f"Who {past} the {thing} in the {place}?", f"{person}."),
            (f"When did {person} {verb} the {thing}?", f"At {time}."),
            (f"What did {person} {verb} in the {place} at {time}?", f"The {thing}."),
        ]


def log_lines(rng, size, n_questions):
    events = Events(rng)
    lines, asked, length = [], [], 0
    while not lines or length < size and len(lines) < len(PEOPLE) * len(THINGS):
        line, thing, questions = events.next()
        lines.append(line)
        asked.append((thing, questions))
        length += len(line) + 1
    chosen = rng.sample(asked, min(n_questions, len(asked)))
    # "Who put the lamp in the hall?" is a question with one answer only while there is one event with the lamp.
    return lines, [rng.choice(q if events.n_things[thing] == 1 else q[:1] + q[2:]) for thing, q in chosen]


def log(rng, size, prose):
    n_questions = rng.randint(1, 4)
    lines, questions = log_lines(rng, size - 70 * n_questions, n_questions)
    head = rng.choice(("Log of the day", "What happened on " + rng.choice(DAYS), "Journal", "Notes of the watchman"))
    document = Document("log", f"{head}\n\n" + "\n".join(lines) + "\n", "", questions, [])
    return ask(document, "\n", "Question: ", "\nAnswer: ", "\n")


# --- Reports ----------------------------------------------------------------------------------------------------------

ASIDES = (
    "The weather was fair for most of the day.", "The clerk wrote this down with care.", "Nobody had expected it.",
    "There was little else to be seen.", "Some people stood by and talked.", "It rained a little towards evening.",
    "The streets were quiet after that.", "Nothing more was heard of the matter.", "A few old men smoked their pipes.",
    "The bells rang as they always do.", "It was a day like many others.", "The children were glad of it.",
    "Most of the shops closed early.", "There was some talk about the price of bread.",
    "A cold wind blew from the north.",
    "Everybody went home before dark.", "The newspapers said nothing about it.", "It made no great stir.",
    "The lamps were lit at the usual hour.", "One or two carts went by.", "The dogs barked for a while.",
    "Dinner was late on that account.", "The visitors came and went.", "No one was much surprised.",
)


def fact_ship(rng):
    ship, town, n, goods = rng.choice(SHIPS), rng.choice(TOWNS), rng.randint(2, 99), rng.choice(GOODS)
    return (f"The ship {ship} came in from {town} with {n} tons of {goods}.",
            f"{ship}: from {town}, {n} tons of {goods}.", (ship, town, str(n), goods))


def fact_price(rng):
    goods, low, high = rng.choice(GOODS), rng.randint(2, 40), rng.randint(41, 99)
    day = rng.choice(DAYS)
    return (f"On {day} the price of {goods} rose from {low} to {high} shillings.",
            f"Price of {goods}: from {low} to {high} shillings.", (goods, str(low), str(high)))


def fact_loss(rng):
    person, thing, place = rng.choice(PEOPLE), rng.choice(THINGS), rng.choice(PLACES)
    return (f"A {rng.choice(TRADES)} named {person} lost {article(thing)} in the {place}.",
            f"{person} lost {article(thing)} in the {place}.", (person, thing, place))


def fact_office(rng):
    person, trade, town = rng.choice(PEOPLE), rng.choice(TRADES), rng.choice(TOWNS)
    return (f"{person}, who had been {article(trade)}, was made mayor of {town}.",
            f"{person}, {article(trade)}, is mayor of {town}.", (person, trade, town))


def fact_fire(rng):
    place, town, day = rng.choice(PLACES), rng.choice(TOWNS), rng.choice(DAYS)
    return (f"A fire broke out in the {place} at {town} on {day}.",
            f"Fire in the {place} at {town} on {day}.", (place, town, day))


def fact_travel(rng):
    person, town, day = rng.choice(PEOPLE), rng.choice(TOWNS), rng.choice(DAYS)
    return (f"It was settled that {person} should go to {town} on {day}.",
            f"{person} goes to {town} on {day}.", (person, town, day))


FACTS = (fact_ship, fact_price, fact_loss, fact_office, fact_fire, fact_travel)


def report_body(rng, size, prose):
    """(head, paragraphs as text, lines of the summary, facts)"""
    n_facts = rng.randint(2, 5)
    facts = [rng.choice(FACTS)(rng) for _ in range(n_facts)]
    said = sum(len(sentence) + len(line) + 4 for sentence, line, _ in facts)
    sentences, length = [], 0
    while said + length < size:
        source = prose if prose and rng.random() < 0.3 else ASIDES
        sentences.append(rng.choice(source))
        length += len(sentences[-1]) + 1
    places = sorted(rng.choices(range(len(sentences) + 1), k=n_facts))
    for i, (place, fact) in enumerate(zip(places, facts)):
        sentences.insert(place + i, fact[0])
    n = rng.randint(3, 6)  # sentences of a paragraph
    text = "\n".join(" ".join(sentences[i : i + n]) for i in range(0, len(sentences), n))
    head = rng.choice(("Report of the", "News of the", "Letter of the")) + f" {rng.choice(TRADES)}, {rng.choice(DAYS)}"
    return head, text, [line for _, line, _ in facts], [parts for _, _, parts in facts]


def report(rng, size, prose):
    head, text, lines, facts = report_body(rng, size - 60, prose)
    summary = "".join(f"\n- {line}" for line in lines)
    prompt = f"{head}\n\n{text}\n\nSummary:"
    return Document("report", f"{prompt}{summary}\n", prompt, [("Summary:", summary)], facts)


# --- Dialogues --------------------------------------------------------------------------------------------------------

SYSTEMS = (
    "You are a helpful assistant.", "You are a polite assistant who answers in short sentences.",
    "You answer questions about what was said.", "Be brief and friendly.",
)
GREETINGS = (
    ("Hello!", "Hello! How can I help you?"), ("Good morning.", "Good morning! What can I do for you?"),
    ("Hi", "Hello! What would you like to talk about?"),
    ("Good evening.", "Good evening! It is good to hear from you."),
    ("Hello, how are you?", "I am very well, thank you. How are you?"),
)
FAREWELLS = (
    ("Thank you.", "You are welcome!"), ("Thanks, that is all.", "You are welcome. Good-bye!"),
    ("Good-bye!", "Good-bye! It was a pleasure to talk to you."), ("Good night.", "Good night! Sleep well."),
)
TALK = (
    ("Who are you?", "I am a small language model. I have read old novels and I like to answer questions."),
    ("What can you do?", "I can talk with you, remember what you tell me, and find things in a text."),
    ("Are you a person?", "No, I am a small program that writes text."),
    ("Do you like books?", "Yes, I have read many old novels."),
    ("Tell me something about the sea.", "The sea is wide and salt, and ships go over it from one land to another."),
    ("What is the sun?", "The sun is a great ball of fire in the sky. It gives us light and warmth."),
    ("What is rain?", "Rain is water that falls from the clouds."),
    ("What do bees make?", "Bees make honey."), ("What do hens lay?", "Hens lay eggs."),
    ("What does a cow give?", "A cow gives milk."), ("Where do fish live?", "Fish live in the water."),
    ("How many days has a week?", "A week has seven days."),
    ("How many months has a year?", "A year has twelve months."),
    ("What comes after winter?", "After winter comes spring."), ("What colour is the grass?", "The grass is green."),
    ("What colour is snow?", "Snow is white."), ("What is the opposite of hot?", "The opposite of hot is cold."),
    ("What is the opposite of big?", "The opposite of big is small."),
    ("Should I take an umbrella?", "If there are dark clouds in the sky, yes. It is better to be dry than sorry."),
    ("I am tired.", "Then you should rest a little. Sleep does wonders."),
    ("I am sad today.", "I am sorry to hear that. Would you like to tell me about it?"),
    ("I am hungry.", "Then let us hope that dinner is ready soon."),
    ("I am happy today.", "I am glad to hear that! What has happened?"),
    ("What is your favourite season?", "I like the autumn, when the leaves are red and the evenings long."),
    ("Do you know a good name for a cat?", "You could call it Felix."),
    ("Tell me a short story.",
     "Once there was an old man who lived by the sea. Every evening he lit a lamp, and every ship came home."),
)


def remembered(rng):
    """What a user says of himself, the answer to it, and how it is asked for again."""
    person, town, colour = rng.choice(PEOPLE), rng.choice(TOWNS), rng.choice(COLOURS)
    animal, trade, thing, place = rng.choice(ANIMALS), rng.choice(TRADES), rng.choice(THINGS), rng.choice(PLACES)
    n, code = rng.randint(2, 20), number(rng, 5)
    return rng.sample((
        (f"My name is {person}.", f"It is good to meet you, {person}.", "What is my name?", f"Your name is {person}."),
        (f"I live in {town}.", f"{town} is a fine town.", "Where do I live?", f"You live in {town}."),
        (f"I like the colour {colour}.", f"{capital(colour)} is a beautiful colour.", "Which colour do I like?",
         f"You like the colour {colour}."),
        (f"I have {article(animal)}.", f"How nice! I like {animal}s." if animal[-1] not in "esxy" else "How nice!",
         "Which animal do I have?", f"You have {article(animal)}."),
        (f"I am {article(trade)}.", "That is an honest trade.", "What is my trade?", f"You are {article(trade)}."),
        (f"I put the {thing} in the {place}.", "I will remember that.", f"Where is the {thing}?",
         f"The {thing} is in the {place}."),
        (f"I am waiting for {NUMBERS[n]} guests.", "Then there is much to do.", "How many guests do I wait for?",
         f"You wait for {NUMBERS[n]} guests."),
        (f"Remember the number {code}.", f"I will remember {code}.", "Which number did I tell you?",
         f"The number is {code}."),
    ), 3)


def exercise(rng):
    a, b = rng.randint(1, 10), rng.randint(1, 10)
    word, words = rng.choice(THINGS), rng.sample(THINGS, 3)
    return rng.choice((
        (f"What is {NUMBERS[a]} and {NUMBERS[b]}?", f"{capital(NUMBERS[a])} and {NUMBERS[b]} is {NUMBERS[a + b]}."),
        (f"Count to {NUMBERS[a]}.", capital(", ".join(NUMBERS[1 : a + 1])) + "."),
        (f"Repeat after me: the {word} is {rng.choice(COLOURS)}.", None),
        (f"Which comes first: {words[0]}, {words[1]} or {words[2]}?", f"First comes the {words[0]}."),
        (f"Spell the word {word}.", capital("-".join(word)) + "."),
    ))


def turn(role, text):
    return f"{TURN_START}{role}\n{text}{TURN_END}\n"


def conversation(turns, questions, facts):
    """turns: (role, text) from first to last, the last of them the assistant's."""
    prompt = "".join(turn(*said) for said in turns[:-1]) + f"{TURN_START}assistant\n"
    return Document("dialogue", f"{prompt}{turns[-1][1]}{TURN_END}\n", prompt, questions, facts)


def about_a_text(rng, size, prose):
    """A log, a report or a passkey in the user's turn, and the answer in the assistant's."""
    kind = rng.choice(("log", "report", "passkey"))
    facts = []
    if kind == "log":
        lines, questions = log_lines(rng, size - 150, 1)
        text, (question, answer) = "\n".join(lines), questions[0]
    elif kind == "report":
        head, body, lines, facts = report_body(rng, size - 150, prose)
        text, question = f"{head}\n\n{body}", "Summarize this text."
        answer = "\n".join(f"- {line}" for line in lines)
    else:
        noun = rng.choice(sorted(KEYS))
        key = KEYS[noun](rng)
        sentences = filler(rng, size - 200, prose)
        sentences.insert(rng.randint(0, len(sentences)), needle(noun, key))
        text, question, answer = " ".join(sentences), f"What is the {noun}?", f"The {noun} is {key}."
    said = f"{text}\n\n{question}" if rng.random() < 0.5 else f"{question}\n\n{text}"
    if rng.random() < 0.3:  # shown first, asked about in a turn of its own
        turns = [("user", text), ("assistant", "I have read it."), ("user", question), ("assistant", answer)]
    else:
        turns = [("user", said), ("assistant", answer)]
    return turns, [(question, answer)], facts


def small_talk(rng, size):
    turns, questions = [], []
    if rng.random() < 0.5:
        turns += zip(("user", "assistant"), rng.choice(GREETINGS))
    known = remembered(rng)
    told = known[: rng.randint(0, 3)]
    facts = [(text, answer) for text, answer, _, _ in told]
    said = facts + [rng.choice(TALK) if rng.random() < 0.6 else exercise(rng) for _ in range(1 + max(0, size) // 80)]
    rng.shuffle(said)
    length = 0
    for text, answer in said:
        if length <= size or (text, answer) in facts:
            answer = answer or capital(text.split(": ", 1)[1])
            turns += [("user", text), ("assistant", answer)]
            length += len(text) + len(answer) + 20
    asked = [(question, answer) for _, _, question, answer in told]
    rng.shuffle(asked)
    for question, answer in asked:
        turns += [("user", question), ("assistant", answer)]
        questions.append((question, answer))
    if not turns or rng.random() < 0.3:
        turns += zip(("user", "assistant"), rng.choice(FAREWELLS))
    return turns, questions, []


def dialogue(rng, size, prose):
    system = [("system", rng.choice(SYSTEMS))] if rng.random() < 0.3 else []
    if rng.random() < 0.5:
        turns, questions, facts = about_a_text(rng, size - 40, prose)
    else:
        turns, questions, facts = small_talk(rng, size - 200)
    return conversation(system + turns, questions, facts)


MAKERS = {"passkey": passkey, "log": log, "report": report, "dialogue": dialogue}


def make(kind, rng, size, prose=()):
    return MAKERS[kind](rng, size, prose)


def make_tokens(kind, seed, n_tokens, count, prose=()):
    """The longest document found of this seed with at most so many tokens, or its shortest."""
    low, high = 0, 8 * n_tokens  # characters
    while high - low > 20:
        size = (low + high) // 2
        fits = count(make(kind, random.Random(seed), size, prose).text) <= n_tokens
        low, high = (size, high) if fits else (low, size)
    return make(kind, random.Random(seed), low, prose)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("seed", type=int, help=f"those from {TRAINING_SEEDS.start} on are for training")
    parser.add_argument("size", type=int, help="characters")
    options = parser.parse_args()
    print(json.dumps(dataclasses.asdict(make(options.kind, random.Random(options.seed), options.size))))


if __name__ == "__main__":
    main()
