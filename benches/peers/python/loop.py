"""The plain loop, with one task whatever TASKS says:
loop.py wordcount|capture INPUT OUT TASKS POSTS_A_FILE"""

import json
import sys
import time
from collections import Counter

from lake import Lake

task, source, out, _, posts_in_file = sys.argv[1:]
begun = time.monotonic()
with open(source) as posts:
    if task == "wordcount":
        counts = Counter()
        for line in posts:
            counts.update(json.loads(line)["tweet"]["text"].split())
        seconds = time.monotonic() - begun
        with open(f"{out}/counts.json", "w") as file:
            json.dump(counts, file)
    else:
        lake = Lake(out, int(posts_in_file))
        for line in posts:
            json.loads(line)
            lake.add(line.rstrip("\n"))
        lake.close()
        seconds = time.monotonic() - begun
print(json.dumps({"seconds": seconds}))
