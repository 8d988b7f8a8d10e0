"""The garbage collector once a process has settled; in one of its own, as it holds for all of it."""

import subprocess
import sys

PROGRAM = """
import gc
from common import memory
memory.settle()
kept = []
before = [generation["collections"] for generation in gc.get_stats()]
for _ in range(9_000):
    kept.append([])
after = [generation["collections"] for generation in gc.get_stats()]
assert before == after, "calls under way are looked through"
assert gc.get_freeze_count() > 1_000, "what was imported is looked through"


class Node:
    pass


node = Node()
node.itself = node
del node
for _ in range(30_000):
    kept.append([])
assert not any(isinstance(one, Node) for one in gc.get_objects()), "cycles stay for ever"
"""


def test_calls_under_way_are_no_garbage_and_cycles_are() -> None:
    subprocess.run([sys.executable, "-c", PROGRAM], check=True, timeout=60)
