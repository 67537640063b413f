"""Whoever is asked to stop stops, also where a library has lost what was raised, and says so once."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from das_explain import commands, signals
from das_explain.commands.common import progress_bars
from das_explain.signals import Stopped, heard_signals, stop_if_asked


class Drops:
    """Python drops what is raised while an object is taken apart, as libraries in C do in what they call."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def lose_one() -> None:
    lost = Drops()
    del lost


def test_a_signal_that_was_lost_stops_the_work_where_it_goes_on():
    stop_if_asked()
    with pytest.raises(Stopped), heard_signals():
        lose_one()
        stop_if_asked()
    stop_if_asked()  # of a command before this one
    with heard_signals():
        stop_if_asked()


def test_progress_is_where_work_goes_on():
    with pytest.raises(Stopped), heard_signals(), progress_bars("images") as (tell,):
        tell(0, 2)
        lose_one()
        tell(1, 2)


def ended(monkeypatch: pytest.MonkeyPatch, app) -> int:
    monkeypatch.setattr(commands, "app", app)
    monkeypatch.setattr(sys, "argv", ["das-explain", "report", "runs/x"])
    with pytest.raises(SystemExit) as end:
        commands.run_command()
    return end.value.code


def test_an_error_that_a_library_makes_of_it_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys):
    def draws() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Stopped:
            raise ValueError("Invalid bounding box") from None

    assert ended(monkeypatch, draws) == 143
    assert capsys.readouterr().err.startswith("das-explain: stopped; tables and report are as they were")


def test_an_error_that_nobody_foresaw_is_shown_whole(monkeypatch: pytest.MonkeyPatch):
    def draws() -> None:
        raise ValueError("Invalid bounding box")

    monkeypatch.setattr(commands, "app", draws)
    signals._received.clear()
    with pytest.raises(ValueError, match="Invalid bounding box"):
        commands.run_command()


def test_a_folder_that_is_gone_is_told(monkeypatch: pytest.MonkeyPatch, capsys):
    def gone() -> str:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(commands.os, "getcwd", gone)
    assert ended(monkeypatch, print) == 2
    assert "the folder that you are in is no longer there" in capsys.readouterr().err


def test_a_process_that_is_done_is_not_killed_while_it_ends():
    script = (
        "import atexit, os, signal, sys\n"
        "for number in (signal.SIGINT, signal.SIGTERM):\n"
        "    atexit.register(os.kill, os.getpid(), number)\n"
        "from das_explain.commands import main\n"
        "sys.argv = ['das-explain', '--version']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
