"""What an app counts, in a registry of its own; Faust's own figures mislead where acknowledgements wait (research/faust.md)."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class Metrics:
    """The metrics of one app."""

    def __init__(self, app: str) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        folded = Counter("failsoft_streams_rollups", "Roll-ups that were added up", ["app"], registry=r)
        malformed = Counter("failsoft_streams_malformed", "Records that are no roll-ups", ["app"], registry=r)
        published = Counter("failsoft_streams_published_records", "What was made of them", ["app"], registry=r)
        lag = Gauge("failsoft_streams_lag_records", "Still to be read, in own partitions", ["app"], registry=r)
        self.folded, self.malformed, self.published = (each.labels(app) for each in (folded, malformed, published))
        self.lag = lag.labels(app)
