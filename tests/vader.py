"""Prints made-up English posts, one a line, each with the rating of its text by vaderSentiment.

    python tests/vader.py SEED POSTS

The sentences are put together at random from what VADER's rules name and what its lexicon rates:
words in several cases, negations, words that make others stronger or weaker, idioms, emoticons,
emoji, punctuation, and words that mean nothing.
"""

import json
import random
import sys
import unicodedata

from vaderSentiment.vaderSentiment import (
    BOOSTER_DICT,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
)

analyzer = SentimentIntensityAnalyzer()
rated = sorted(analyzer.lexicon)
emoji = sorted(analyzer.emojis)
common = [word for word in ["good", "bad", "great", "horrible", "love", "hate", "sad", "win", "no"]]
plain = (
    "the a storm came of over to and weather in my I it is was this so at table \u00fcber \u65e5\u672c 12 RT it's"
    " don\u2019t isn't DIDN'T kind sort just enough least very without doubt never or nor but yeah"
    " right bus stop bomb ass kiss death die for beating heart \u01c5 \u00c4RGER \u0130 \u212a"
).split()
idioms = sorted(SPECIAL_CASES) + ["kind of", "sort of", "just enough", "at least", "very least"]
idioms += ["never so", "never this", "without a doubt", "no good", "least good", "no one nor good"]
punctuation = ["", "", "", "", ".", ",", "!", "!!", "!!!", "!!!!!", "?", "??", "???", "????", "...", '"', ")", "'"]
spaces = [" ", " ", " ", " ", " ", "  ", "\n", "\t", "\u00a0", "\u3000"]


def word(draw):
    kinds = [
        (common, 4),
        (rated, 5),
        (plain, 6),
        (sorted(BOOSTER_DICT), 3),
        (NEGATE, 2),
        (idioms, 2),
        (emoji, 2),
    ]
    words = draw.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])[0]
    chosen = draw.choice(words)
    case = draw.random()
    if case < 0.15:
        chosen = chosen.upper()
    elif case < 0.25:
        chosen = chosen.capitalize()
    return draw.choice(["", "", "", "", '"', "(", "#"]) + chosen + draw.choice(punctuation)


def sentence(draw):
    length = draw.choice([0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 40])
    text = "".join(word(draw) + draw.choice(spaces) for _ in range(length))
    return unicodedata.normalize("NFC", text)


def main():
    draw = random.Random(int(sys.argv[1]))
    for number in range(int(sys.argv[2])):
        text = sentence(draw)
        rating = analyzer.polarity_scores(text)["compound"] if text.strip() else None
        body = {"id": str(number), "lang": "en", "text": text, "expected": rating}
        print(json.dumps({"note": body}))


main()
