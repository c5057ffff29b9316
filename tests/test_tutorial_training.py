"""What the walkthroughs share."""

import importlib.util

from rich.console import Console

from secateur.tutorials import training
from secateur.tutorials.progress import Stages


def test_without_tensorboard_it_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n: None if n == "tensorboard" else real(n)
    )
    assert training.summaries(tmp_path / "logs", Stages(Console(width=200))) == []
    assert 'pip install "secateur[tensorboard]"' in capsys.readouterr().out
