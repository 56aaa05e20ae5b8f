"""Makes posts up for the peers: the same ones for the same number."""

import bisect
import itertools
import json
import random

WORDS = 20
VOCABULARY = 20_000


def write(path, count):
    """Writes posts of some 700 bytes, whose words come as often as those of a language do."""
    dice = random.Random(count)
    vocabulary = [
        "".join(dice.choices("abcdefghijklmnopqrstuvwxyzåé", k=dice.randint(2, 10)))
        for _ in range(VOCABULARY)
    ]
    weights = list(itertools.accumulate(1 / place for place in range(1, VOCABULARY + 1)))

    def text():
        places = (bisect.bisect(weights, dice.random() * weights[-1]) for _ in range(WORDS))
        return " ".join(vocabulary[min(place, VOCABULARY - 1)] for place in places)

    with open(path, "w") as file:
        for number in range(count):
            author = dice.randrange(10_000)
            user = {
                "id_str": str(author),
                "screen_name": f"author_{author}",
                "description": text(),
                "followers_count": dice.randrange(100_000),
                "created_at": "Wed Mar 18 13:46:38 +0000 2015",
            }
            tweet = {
                "created_at": "Fri Dec 18 00:00:00 +0000 2015",
                "id": 677_000_000_000_000_000 + number,
                "id_str": str(677_000_000_000_000_000 + number),
                "text": text(),
                "source": '<a href="http://example.org/" rel="nofollow">a client</a>',
                "user": user,
                "entities": {"hashtags": [], "urls": [], "user_mentions": []},
                "retweet_count": dice.randrange(100),
                "favorite_count": dice.randrange(100),
                "lang": "en",
            }
            file.write(json.dumps({"tweet": tweet}, ensure_ascii=False) + "\n")
