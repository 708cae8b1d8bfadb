# failsoft in a container: worker, topics, model server, streams, by the command that is given.
#
# The locked versions are those that every test ran on; pip checks each against its hash. No container engine was at hand where this
# was written: `docker build` itself has not been run.

FROM python:3.12-slim AS build
WORKDIR /build
COPY requirements/dev.lock requirements/
RUN python -m venv /opt/failsoft && /opt/failsoft/bin/pip install --no-cache-dir --require-hashes -r requirements/dev.lock
COPY pyproject.toml README.md LICENSE topics.yaml ./
COPY failsoft failsoft
COPY workers workers
# hatchling is in the lock, so nothing is fetched here
RUN /opt/failsoft/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home failsoft
COPY --from=build /opt/failsoft /opt/failsoft
ENV PATH=/opt/failsoft/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /srv/failsoft
COPY topics.yaml ./
COPY workers workers
COPY streams streams
USER failsoft
EXPOSE 8080
# of whatever serves /health on 8080: a worker, the model server, streams
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["failsoft"]
CMD ["worker", "workers.digits:pipeline", "--host", "0.0.0.0", "--port", "8080", "--log-format", "json"]
