"""What a person sees while a run is measured."""

import io

import pytest

from edgecarbon.progress import ProgressLine, describe

STEP = {
    "event": "step",
    "phase": "train",
    "step": 3,
    "steps": 100,
    "loss": 10.81234,
    "tokens_per_second": 1234.5,
    "watts": 21.04,
    "watts_provenance": "estimated",
    "remaining_s": 83.2,
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_step_in_words():
    assert describe(STEP) == "train step 3/100, loss 10.812, 1,234 tokens/s, 21.0 W (estimated), 1:23 left"


def test_watts_without_a_label_say_so():
    assert "21.0 W (unlabelled)" in describe({**STEP, "watts_provenance": None})


@pytest.mark.parametrize("field", ["loss", "tokens_per_second", "watts", "remaining_s"])
def test_unknown_figures_are_left_out(field):
    assert describe({**STEP, field: None}).count(",") == describe(STEP).count(",") - 1 - (field == "tokens_per_second")


@pytest.mark.parametrize(
    "event",
    [{}, {"event": "step"}, {"event": "step", "phase": "x", "step": 1, "steps": 2, "loss": "NaN"}, {"event": ["step"]}],
)
def test_nonsense_from_a_device_is_passed_over(event):
    assert describe(event) is None


def test_terminal_keeps_one_line_and_a_log_gets_few():
    terminal, log = Terminal(), io.StringIO()
    for stream in (terminal, log):
        show = ProgressLine("w/d/r1", stream)
        for step in range(1, 101):
            show({**STEP, "step": step})
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().count("\r") == 100
    assert log.getvalue().count("\n") == 2
    assert "100/100" in log.getvalue()


def test_a_devices_words_move_no_cursor_and_fill_no_screen():
    stream = io.StringIO()
    ProgressLine("w/d/r1", stream)({"event": "note", "message": "\x1b[2J\r\nhello" + "x" * 100_000})
    ProgressLine("w/d/r1", stream)({"event": "phase", "phase": "\x07" + "y" * 100_000})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert all(line.isprintable() and len(line) <= 500 for line in lines)
