import random
from xml.etree import ElementTree as ET

from failsoft.policy.outcome import Ending, Outcome, Reason
from failsoft.policy.settings import ClassSettings, StageSettings, TierSettings
from failsoft.simulation.latency_law import Lognormal
from failsoft.simulation.plot import BANDS, level_chart, load_chart
from failsoft.simulation.prediction import Question, predict_load
from failsoft.simulation.report import Tally
from failsoft.simulation.workload import Ask, ClassLoad


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


def test_the_chart_over_load_has_a_panel_for_all_and_one_for_each_class():
    settings = StageSettings("answer", (TierSettings("full", 1, 4, 0.2),), (ClassSettings("batch", 1, 60, 60, 0.5),))
    question = Question(settings, {"full": Lognormal(0.2)}, (ClassLoad("batch", 1.0, 60.0),), seconds=2.0)
    found = [predict_load(question, load, random.Random) for load in (0.5, 2.0)]
    root = ET.fromstring(load_chart(found, title="a < b"))  # noqa: S314 - ours
    panels = [element for element in root if element.tag.endswith("}g")]
    assert [sum(each.tag.endswith("polygon") for each in panel) for panel in panels] == [len(BANDS)] * 2
    texts = [[each.text for each in panel if each.tag.endswith("text")] for panel in panels]
    assert [shown[0] for shown in texts] == ["a < b: all classes", "batch"]
    assert {"0.5", "2"} <= set(texts[0])
