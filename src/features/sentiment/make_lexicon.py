"""Writes lexicon.txt, emoji.txt and LICENSE from the package vaderSentiment 3.3.2.

    pip install vaderSentiment==3.3.2
    python src/features/sentiment/make_lexicon.py

Left out is what VADER never finds: words that aren't in lower case (it looks up words in lower
case), words with white space (it splits texts at white space), and emoji of several characters (it
looks up characters). Of each word its mean is kept, and not the ten ratings that the mean is of.
"""

import importlib.metadata
from pathlib import Path

from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

folder = Path(__file__).parent
analyzer = SentimentIntensityAnalyzer()
words = {
    word: mean
    for word, mean in analyzer.lexicon.items()
    if word == word.lower() and len(word.split()) == 1
}
emoji = {sign: text for sign, text in analyzer.emojis.items() if len(sign) == 1}
with open(folder / "lexicon.txt", "w", encoding="utf-8") as file:
    file.writelines(f"{word}\t{mean:g}\n" for word, mean in sorted(words.items()))
with open(folder / "emoji.txt", "w", encoding="utf-8") as file:
    file.writelines(f"{sign}\t{text}\n" for sign, text in sorted(emoji.items()))
distribution = importlib.metadata.distribution("vaderSentiment")
license = next(file for file in distribution.files if file.name.startswith("LICENSE"))
(folder / "LICENSE").write_text(license.locate().read_text(encoding="utf-8"), encoding="utf-8")
