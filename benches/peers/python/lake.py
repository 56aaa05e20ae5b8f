"""Files of JSON arrays, each synced before it gets its name."""

import os


class Lake:
    def __init__(self, folder, posts_in_file, worker=0):
        self.folder, self.posts_in_file, self.worker = folder, posts_in_file, worker
        self.open, self.files = [], 0

    def add(self, post):
        self.open.append(post)
        if len(self.open) == self.posts_in_file:
            self.close()

    def close(self):
        if not self.open:
            return
        part = f"{self.folder}/.part-{self.worker}"
        with open(part, "w") as file:
            file.write("[" + ",\n".join(self.open) + "]\n")
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, f"{self.folder}/{self.worker}-{self.files}.json")
        self.files += 1
        self.open = []
