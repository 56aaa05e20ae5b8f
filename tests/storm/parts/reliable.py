"""A spout on pystorm's ReliableSpout: reliable.py COUNT. It notes in the file `acked` when all is
acknowledged, and in `failed` each tuple that comes back."""

import sys

from pystorm import ReliableSpout


class Numbers(ReliableSpout):
    max_fails = 100

    def initialize(self, conf, context):
        self.next = 0
        self.count = int(sys.argv[1])
        self.done = set()

    def next_tuple(self):
        if self.next < self.count:
            self.emit([self.next], tup_id="n%d" % self.next)
            self.next += 1

    def ack(self, tup_id):
        super().ack(tup_id)
        self.done.add(tup_id)
        if len(self.done) == self.count:
            open("acked", "w").close()

    def fail(self, tup_id):
        with open("failed", "a") as failed:
            print(tup_id, file=failed)
        super().fail(tup_id)


Numbers().run()
