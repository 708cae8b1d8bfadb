"""Plays the second act from its first scene to its verdict."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from failsoft.catalogue import Catalogue
from failsoft.failover.kafka_book import KafkaBook
from failsoft.failover.run import Run
from failsoft.kafka import Connection
from failsoft.policy.outcome import Reason
from failsoft.trials.audience import Audience
from failsoft.trials.demo import DemoSettings
from failsoft.trials.deployment import apply_topics, read_log
from failsoft.trials.ledger import Ledger, Verdict
from failsoft.trials.load import draw_load
from failsoft.trials.scenario import ASKING
from failsoft.trials.second_act.judgement import Expectation, Shown, expectations
from failsoft.trials.second_act.questions import Questions
from failsoft.trials.second_act.script import BACK, PIPELINE, SCENES
from failsoft.trials.second_act.stage import Played, opened
from failsoft.wire import Result


@dataclass(frozen=True, slots=True)
class SecondAct:
    """What the second act has shown.

    Attributes:
        verdict: over all its requests.
        scenes: in order.
        runs: drills and failovers, as the book has them.
        expected: everything that had to be shown.
    """

    verdict: Verdict
    scenes: Sequence[Shown]
    runs: Sequence[Run]
    expected: Sequence[Expectation]

    @property
    def is_kept(self) -> bool:
        """Whether all of it was."""
        return all(each.is_met for each in self.expected)


async def run_second_act(
    connection: Connection, catalogue: Catalogue, settings: DemoSettings, audience: Audience
) -> SecondAct:
    """Play it and judge it.

    Raises:
        ConfigurationError: the catalogue has no such classes, or its topics need a person.
        EnvironmentFailure: the broker is missing, or a process ended by itself.
    """
    await apply_topics(connection, catalogue, PIPELINE)
    audience.step("second act: the topics of two stages are as the catalogue wants them")
    run = uuid4().hex[:12]
    why = f"demo {run}"  # by which its runs are known again in the book
    load = draw_load(run, (*SCENES, BACK), seed=settings.seed, asker=Questions)
    load_of = {scene: [each for each in load if each.asked.phase == scene.name] for scene in (*SCENES, BACK)}
    ledger = Ledger({each.result_id: each.asked for each in load}, classes=[asking.request_class for asking in ASKING])
    async with opened(connection, catalogue, settings, ledger, audience) as stage:
        await stage.begin(load_of[BACK], why=why)
        played = [await stage.play(scene, load_of[scene], why=why) for scene in SCENES]
    audience.step("all workers have stopped; reading the log")
    await read_log(connection, ledger, PIPELINE)
    runs = [each for each in await KafkaBook(connection, PIPELINE).read() if each.why == why]
    verdict = ledger.verdict()
    scenes = [_shown(each, verdict, ledger) for each in played]
    return SecondAct(verdict, scenes, runs, list(expectations(verdict, scenes, runs)))


def _shown(played: Played, verdict: Verdict, ledger: Ledger) -> Shown:
    name = played.scene.name
    results: list[Result] = [each for id_, each in verdict.results.items() if ledger.asked[id_].phase == name]
    return Shown(
        scene=played.scene,
        classes=verdict.phases[name],
        reasons=Counter(each.reason for each in results if each.reason is not Reason.NONE),
        regions=Counter(each.region for each in results if each.region is not None),
        calls=played.calls,
        seconds=played.seconds,
        exit_code=played.exit_code,
    )
