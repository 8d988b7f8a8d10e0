"""Stacks are summed up by function: alone, and with what it calls."""

from benchmarks.profile import hotspots


def test_stacks_are_summed_up() -> None:
    found = hotspots(
        [
            'process 7:"python -m edge";main (m.py:1);serve (s.py:2) 3\n',
            "main (m.py:1);serve (s.py:2);main (m.py:1) 2\n",
            "main (m.py:1);read (r.py:9) 5\n",
            'process 7:"python -m edge" 4\n',
        ]
    )
    assert found.samples == 10
    assert found.alone == {"serve (s.py:2)": 3, "main (m.py:1)": 2, "read (r.py:9)": 5}
    assert found.within == {"main (m.py:1)": 10, "serve (s.py:2)": 5, "read (r.py:9)": 5}
