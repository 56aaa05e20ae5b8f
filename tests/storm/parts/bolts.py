"""Bolts on pystorm's and Streamparse's own classes: bolts.py CLASS. Each hands on what it gets."""

import os
import sys

from pystorm import BatchingBolt, Bolt, TicklessBatchingBolt


class Echo(Bolt):
    def process(self, tup):
        self.emit([tup.values[0]])


class Told(Bolt):
    """Asks which tasks get its tuples."""

    def process(self, tup):
        tasks = self.emit([tup.values[0]], need_task_ids=True)
        assert len(tasks) == 1 and self.context["task->component"][str(tasks[0])] == "out", tasks


class Grows(Bolt):
    """Emits far more than a pipe holds before it reads the next tuple."""

    def process(self, tup):
        self.emit([tup.values[0], tup.values[1] * 3])


class Batches(BatchingBolt):
    def group_key(self, tup):
        return tup.values[0] % 3

    def process_batch(self, key, tups):
        assert all(tup.values[0] % 3 == key for tup in tups)
        for tup in tups:
            self.emit([tup.values[0]])


class Tickless(TicklessBatchingBolt):
    secs_between_batches = 0.3

    def process_batch(self, key, tups):
        for tup in tups:
            self.emit([tup.values[0]])


class Poisoned(Bolt):
    """Raises for one tuple, which ends the process."""

    def process(self, tup):
        if tup.values[0] == 7:
            raise ValueError("seven is refused")
        self.emit([tup.values[0]])


class Refuses(Bolt):
    """Fails one tuple each time, and lives on."""

    auto_ack = False

    def process(self, tup):
        if tup.values[0] == 7:
            self.fail(tup)
        else:
            self.emit([tup.values[0]])
            self.ack(tup)


class DiesOnce(Bolt):
    def process(self, tup):
        if tup.values[0] == 300 and not os.path.exists("died"):
            open("died", "w").close()
            os.kill(os.getpid(), 9)
        self.emit([tup.values[0]])


globals()[sys.argv[1]]().run()
