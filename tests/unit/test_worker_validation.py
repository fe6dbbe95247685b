"""The load that meters are held against: busy for its share of the time, whatever else the machine does."""

from types import SimpleNamespace

import pytest

from edgecarbon.worker import validation


@pytest.mark.parametrize("load", [0.0, 0.25, 0.5, 1.0])
def test_a_load_is_a_share_of_the_time(monkeypatch, load):
    now_s, busy_s = [0.0], [0.0]

    class Held(validation._Work):
        def _burst(self, seconds):
            now_s[0] += seconds
            busy_s[0] += seconds
            return seconds

    def rest(seconds):
        now_s[0] += seconds

    monkeypatch.setattr(validation, "time", SimpleNamespace(sleep=rest))
    Held(SimpleNamespace(kind="cpu", device="cpu"), load).until(60.0, SimpleNamespace(now_s=lambda: now_s[0]))
    assert now_s[0] == pytest.approx(60.0)
    assert busy_s[0] / now_s[0] == pytest.approx(load, abs=0.02)
