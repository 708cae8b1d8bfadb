from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from failsoft.policy.offsets import SPAN_MAX, OffsetLedger, OffsetTracker
from failsoft.policy.progress import Mark, Progress
from failsoft.policy.request import Partition, RecordId

PARTITION = Partition("standard", 3)


def record(offset: int) -> RecordId:
    return RecordId(*PARTITION, offset)


def tracker(started: list[int], finished: list[int], position: int = 0) -> OffsetTracker:
    found = OffsetTracker(position)
    for offset in started:
        found.started(offset)
    for offset in finished:
        found.finished(offset)
    return found


def test_the_watermark_is_the_first_record_that_is_not_done():
    for finished, watermark, above in (
        ([], 5, set()),
        ([5], 6, set()),
        ([6], 5, {6}),
        ([7, 6], 5, {6, 7}),
        ([7, 5], 6, {7}),
        ([7, 6, 5], 8, set()),
        ([5, 5, 5], 6, set()),
    ):
        found = tracker([5, 6, 7], finished, position=5)
        assert found.low_watermark == watermark
        assert found.finished_above == above


def test_gaps_in_the_log_are_stepped_over_once_what_is_before_them_is_done():
    assert tracker([5, 9, 20], [5]).low_watermark == 9
    assert tracker([5, 9, 20], [5, 9, 20]).low_watermark == 21


def test_before_anything_arrives_the_position_stands():
    found = tracker([], [], position=42)
    assert (found.low_watermark, found.highest_started, found.span) == (42, 41, 0)


def test_a_record_below_what_was_taken_is_not_new():
    found = tracker([5, 9], [])
    assert [found.started(offset) for offset in (5, 7, 9, 10)] == [False, False, False, True]


def test_a_record_that_was_never_taken_cannot_be_finished():
    assert tracker([5, 6], [4, 7, 100]).low_watermark == 5


def test_the_span_counts_what_a_crash_would_repeat():
    found = tracker([5, 6, 7, 8], [6, 8], position=5)
    assert (found.span, found.highest_started) == (4, 8)


def test_a_class_takes_no_more_while_one_of_its_partitions_has_as_much_past_its_watermark_as_a_commit_can_describe():
    ledger = OffsetLedger()
    ledger.assign(dict.fromkeys([PARTITION, Partition("standard", 4), Partition("batch", 3)], Progress(0)), 1)
    for offset in range(SPAN_MAX):
        assert not ledger.is_too_wide("standard")
        ledger.started(record(offset))
        if offset:
            ledger.finished(record(offset), 1)
    assert ledger.is_too_wide("standard")
    assert not ledger.is_too_wide("batch")
    ledger.finished(record(0), 1)
    assert not ledger.is_too_wide("standard")


def test_a_record_of_a_partition_of_others_is_not_taken():
    ledger = OffsetLedger()
    ledger.assign({PARTITION: Progress(0)}, 1)
    ledger.revoke([PARTITION])
    assert ledger.started(record(0)) is None


def test_what_was_given_out_to_be_committed_is_not_given_out_again():
    ledger = OffsetLedger()
    ledger.assign({PARTITION: Progress(7)}, 1)
    assert not ledger.has_uncommitted
    ledger.started(record(7))
    ledger.finished(record(7), 1)
    assert ledger.has_uncommitted
    assert ledger.to_commit() == {PARTITION: Mark(1, Progress(8, highest_started=7, is_clean=False))}
    assert not ledger.has_uncommitted
    assert ledger.to_commit() == {}


def test_what_was_done_in_one_log_is_not_done_in_another_of_the_same_name():
    """Records of the new log were taken before anybody noticed, so that the instants do not tell the two apart."""
    ledger = OffsetLedger()
    ledger.assign({PARTITION: Progress(0, log="aaaaaaaa")}, 1)
    for offset, appended_at in ((0, 10.0), (1, 11.0), (2, 90.0)):
        assert ledger.started(record(offset), appended_at) == 1
        ledger.finished(record(offset), 1)
    assert ledger.to_commit()[PARTITION].progress.log == "aaaaaaaa"
    ledger.revoke([PARTITION])
    ledger.assign({PARTITION: Progress(0, log="bbbbbbbb")}, 2)
    assert [ledger.started(record(offset), 90.0 - offset) for offset in range(3)] == [2, 2, 2]
    assert ledger.to_commit()[PARTITION].progress.log == "bbbbbbbb"


def test_what_an_earlier_assignment_finishes_late_does_not_finish_what_has_begun_again():
    ledger = OffsetLedger()
    for assignment in (1, 2):
        ledger.assign({PARTITION: Progress(0)}, assignment)
        assert ledger.started(record(0)) == assignment
    ledger.finished(record(0), 1)
    assert ledger.low_watermark(PARTITION) == 0
    ledger.finished(record(0), 2)
    assert ledger.low_watermark(PARTITION) == 1


def is_in_log(offset: int) -> bool:
    """Every fourth place of this log holds no record for a reader: a marker, or what compaction took."""
    return offset % 4 != 3


class Partitions(RuleBasedStateMachine):
    """One partition comes and goes; its records finish in any order, also those of assignments that are over."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = OffsetLedger()
        self.assignment = 0
        self.is_owned = False
        self.begun_at = self.position = 0
        self.committed = 0
        self.unfinished: set[int] = set()
        self.done: set[int] = set()
        """What is known to be done at or after the position at which the partition was last gained."""
        self.ever_started: list[tuple[int, int]] = []

    @precondition(lambda self: not self.is_owned)
    @rule(behind=st.integers(0, 3))
    def gain(self, behind: int) -> None:
        """Gained from the committed offset, or from before it, where a commit got lost."""
        self.assignment += 1
        self.is_owned = True
        self.position = self.committed = max(0, self.committed - behind)
        self.done = (
            {offset for offset in self.done if offset >= self.position} if self.position >= self.begun_at else set()
        )
        self.begun_at = self.position
        self.unfinished = set()
        self.ledger.assign({PARTITION: Progress(self.position)}, self.assignment)

    @precondition(lambda self: self.is_owned)
    @rule()
    def lose(self) -> None:
        self.is_owned = False
        self.unfinished = set()
        self.ledger.revoke([PARTITION])

    @rule()
    def start(self) -> None:
        """The next record that the log has comes."""
        offset = self.position + (not is_in_log(self.position))
        is_news = self.is_owned and offset not in self.done
        assert self.ledger.started(record(offset)) == (self.assignment if is_news else None)
        if self.is_owned:
            self.position = offset + 1
        if is_news:
            self.unfinished.add(offset)
            self.ever_started.append((self.assignment, offset))

    @precondition(lambda self: self.is_owned and self.position)
    @rule(back=st.integers(1, 5))
    def start_again(self, back: int) -> None:
        assert self.ledger.started(record(max(0, self.position - back))) is None

    @precondition(lambda self: self.unfinished)
    @rule(choice=st.integers(0, 1_000))
    def finish(self, choice: int) -> None:
        offset = sorted(self.unfinished)[choice % len(self.unfinished)]
        self.ledger.finished(record(offset), self.assignment)
        self.unfinished.discard(offset)
        self.done.add(offset)

    @precondition(lambda self: self.ever_started)
    @rule(choice=st.integers(0, 1_000))
    def finish_late(self, choice: int) -> None:
        """What an earlier assignment began; rather a record that has begun again since."""
        late = [(assignment, offset) for assignment, offset in self.ever_started if assignment < self.assignment]
        late = [(assignment, offset) for assignment, offset in late if offset in self.unfinished] or late
        if late:
            assignment, offset = late[choice % len(late)]
            self.ledger.finished(record(offset), assignment)
            if not self.is_owned and offset >= self.begun_at:
                self.done.add(offset)

    @rule(is_clean=st.booleans())
    def commit(self, is_clean: bool) -> None:
        """No offset above any unfinished one, never back, all there is, and what is done above it."""
        watermark = min(self.unfinished, default=self.position)
        marks = self.ledger.to_commit(is_clean=is_clean)
        assert not self.ledger.has_uncommitted
        assert self.ledger.to_commit(is_clean=is_clean) == {}
        if not self.is_owned:
            assert marks == {}
        elif not marks:
            assert watermark == self.committed
        else:
            assignment, progress = marks[PARTITION]
            assert (assignment, progress.offset, progress.is_clean) == (self.assignment, watermark, is_clean)
            assert set(filter(is_in_log, progress.finished)) == {offset for offset in self.done if offset >= watermark}
            self.committed = watermark


TestPartitions = Partitions.TestCase
