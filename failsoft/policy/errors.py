"""Whose fault an error is.

Told apart by who has to act: the peer who sent a record, the author of a configuration, the person who runs the machine,
whoever starts a process again, or we. A failing model is not among them: that is an outcome, a value, and never an exception.
"""


class FailsoftError(Exception):
    """Base of all errors of this library."""


class MalformedRecord(FailsoftError):  # noqa: N818 - it is the record that is malformed, and it has a result all the same
    """The sender's fault: bytes from the wire that are not what the wire contract says.

    Attributes:
        field: the header, or the path in the body, that is wrong.
        problem: what is wrong with it, without any of the sender's data.
    """

    def __init__(self, field: str, problem: str) -> None:
        """Name the field first: it is what the sender looks for."""
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class ConfigurationError(FailsoftError):
    """The author's fault: a pipeline, a catalogue or a setting that cannot work. Names the place and the fix."""


class EnvironmentFailure(FailsoftError):  # noqa: N818 - named by what failed
    """The machine's or the network's fault: no Java, no broker, disk full. Names what is missing and the fix."""


class WorkerStuck(FailsoftError):  # noqa: N818 - named by what happened
    """This process's fault: it does not get on although the cluster is whole. Another one in its place may."""


class IllegalTransition(FailsoftError):  # noqa: N818 - the term of the field
    """Our fault: the shell told the machine something that cannot have happened."""
