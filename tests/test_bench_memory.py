"""`python -m bench memory`, and with it that attention never makes its matrix of scores."""

import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # behind the installed package: bench/ alone is taken from here
from bench import memory


def test_attention_needs_no_matrix_of_scores(monkeypatch, capsys):
    """A process of its own tells its peak: of 8 heads of 2048 tokens the scores alone would be 134 MB."""
    monkeypatch.setattr(memory, "CASES", {"forward": (False, False)})
    memory.main(["--tokens", "2048", "--heads", "8", "--threads", "2"])
    told = capsys.readouterr().out
    growth, results, rest = map(float, re.search(r"^forward +(\S+) +(\S+) +(\S+)", told, re.MULTILINE).groups())
    assert "the scores would be 134 MB" in told and results == 4.2
    assert results - 1 < growth < 20 and rest < 10
