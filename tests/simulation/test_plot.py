from xml.etree import ElementTree as ET

from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.simulation.plot import BANDS, level_chart
from failsoft.simulation.report import Tally
from failsoft.simulation.workload import Ask


def test_the_chart_is_an_svg_with_a_band_per_level_and_a_mark_per_fault():
    tally = Tally()
    for second in range(10):
        ask = Ask(second, second + 0.5, "batch", 60.0, content=second)
        tally.asked(ask)
        level = 1 if second < 5 else 2
        tally.result(ask, Ending(Outcome.OK, Reason.NONE, tier="t", level=level), second + 0.7)
    root = ET.fromstring(level_chart(tally, title="a < b", faults=[(5.0, 20.0), (30.0, 40.0)]))  # noqa: S314 - ours
    polygons = [element for element in root if element.tag.endswith("polygon")]
    assert len(polygons) == len(BANDS)
    texts = [element.text for element in root if element.tag.endswith("text")]
    assert "a < b" in texts
    assert sum(element.get("height") == "5" for element in root) == 1


def test_an_empty_run_draws_too():
    ET.fromstring(level_chart(Tally(), title="nothing"))  # noqa: S314 - ours
