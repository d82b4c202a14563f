"""A mirror of the records in MLflow: one experiment a suite, one run a record, each exactly once.

The store is the truth. Runs are written after their record is stored, by a process of its own or by
``harness track``; a run is found by its key before it is made, and marked complete last, so that a sender
killed half-way leaves nothing twice. The only module that imports MLflow, and only when something is sent.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.files import lock, write_atomically
from harness.records.record import Planned, Record, Row
from harness.records.tracking_content import (
    COMPLETE,
    DIGEST,
    KEY,
    NAME_CHARACTERS,
    TEXT_CHARACTERS,
    Content,
    clean_name,
    contents,
)

REPORTS = "reports"
"""Experiment that holds the reports."""
METRICS_A_BATCH = 1000
PARAMS_A_BATCH = 100
SETTINGS = {
    # One call to a server that is away would otherwise block for four minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}


@dataclass
class Summary:
    """What a sender did, in records."""

    sent: int = 0
    already: int = 0
    failed: int = 0
    """Not sent: the server refused them or went away; ``harness track`` sends them later."""
    errors: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def add(self, other: Summary) -> None:
        """Sum, each error once."""
        self.sent += other.sent
        self.already += other.already
        self.failed += other.failed
        self.errors += [e for e in other.errors if e not in self.errors]


def sync(
    rows: Iterable[Row], results: Path | str, uri: str | None = None, reports: Sequence[Path | str] = (),
    verdicts: Mapping[str, str] | None = None,
) -> Summary:
    """Send every record (and report folder) that the server lacks; what is there is left alone.

    ``verdicts`` (claim -> verdict) become tags of the reports. Raises HarnessError for an unusable URI.
    """
    mirror = Mirror(uri, results)
    summary = mirror.send(rows)
    for folder in reports:
        if not mirror.away:
            summary.add(mirror.send_report(folder, verdicts))
    mirror.note(summary)
    return summary


def tracking_uri(uri: str | None, results: Path | str) -> str:
    """The given URI, else $MLFLOW_TRACKING_URI, else SQLite in the results folder.

    Raises HarnessError for a folder of files: MLflow has given that store up.
    """
    chosen = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path(results).resolve() / 'mlflow.db'}"
    known = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
    scheme = chosen.partition(":")[0].partition("+")[0]
    if scheme not in known and not os.environ.get("MLFLOW_ALLOW_FILE_STORE"):
        raise HarnessError(
            f"tracking URI {_public(chosen)!r}: its scheme is none of {', '.join(known)}; "
            "for a file on this machine give sqlite:///path/to/mlflow.db"
        )
    return chosen


def _public(uri: str) -> str:
    """The URI without user and password."""
    return re.sub(r"//[^/@]*@", "//", uri)


# --- sending -----------------------------------------------------------------------------------------------


@dataclass
class _Known:
    """A run that the server has."""

    run_id: str
    tags: dict[str, str]


class Mirror:
    """Sends runs to one tracking URI. Several may work at once on one results folder: they take turns."""

    def __init__(self, uri: str | None, results: Path | str) -> None:
        self.results = Path(results)
        self.uri = tracking_uri(uri, results)
        self.away = False
        """The server could not be reached: nothing more is tried."""
        self._client: Any = None
        self._experiments: dict[str, str] = {}
        self._index: dict[str, dict[str, _Known]] = {}
        self._token = f"{os.getpid()} {time.time_ns()} {id(self)}"

    def send(self, rows: Iterable[Row]) -> Summary:
        """Send what is missing of these rows' records; failures are counted, never raised."""
        summary = Summary()
        for suite, runs in contents(rows).items():
            for run in runs:
                summary.add(self._guarded(suite, run, None))
        return summary

    def send_report(self, folder: Path | str, verdicts: Mapping[str, str] | None = None) -> Summary:
        """Send a report folder as the artifact of a run of its own; the same content is sent once."""
        folder = Path(folder)
        sha = hashlib.sha256()
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            sha.update(path.relative_to(folder).as_posix().encode())
            sha.update(path.read_bytes())
        labels = {clean_name(f"verdict.{k}"): v[:TEXT_CHARACTERS] for k, v in (verdicts or {}).items()}
        now = time.time_ns() // 10**6
        run = Content(
            key=f"report {sha.hexdigest()[:32]}", digest=sha.hexdigest()[:16], name="report", labels=labels,
            tags={KEY: f"report {sha.hexdigest()[:32]}", DIGEST: sha.hexdigest()[:16]}, params={}, metrics=[],
            status="FINISHED", start=now, end=now,
        )
        return self._guarded(REPORTS, run, folder)

    def note(self, summary: Summary) -> None:
        """Leave beside the records what is pending, and why: ``runs/tracking.json``."""
        content = {"uri": _public(self.uri), "pending": summary.failed, "errors": summary.errors}
        with suppress(OSError):
            write_atomically(self.results / "runs" / "tracking.json", json.dumps(content).encode())

    def _guarded(self, experiment: str, run: Content, folder: Path | None) -> Summary:
        if self.away:
            return Summary(failed=1)
        try:
            with self._turn():
                return Summary(sent=1) if self._send(experiment, run, folder) else Summary(already=1)
        except Exception as error:
            self.away = _is_away(error)
            text = str(error).strip() or type(error).__name__
            if self.away:
                text = f"tracking server {_public(self.uri)} cannot be reached: {text[:300]}"
            return Summary(failed=1, errors=[text.replace(self.uri, _public(self.uri))[:1000]])

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One sender at a time; if another was at it, what the server holds is asked anew."""
        with lock(self.results / "runs" / "tracking.lock") as handle:
            if handle.read() != self._token:
                self._index.clear()
                handle.seek(0)
                handle.truncate()
                handle.write(self._token)
                handle.flush()
            yield

    def _connect(self) -> Any:
        if self._client is None:
            for name, value in SETTINGS.items():
                os.environ.setdefault(name, value)
            for name in ("alembic", "mlflow", "sqlalchemy"):
                logging.getLogger(name).setLevel(logging.ERROR)
            from mlflow.tracking import MlflowClient

            self._client = MlflowClient(tracking_uri=self.uri)
        return self._client

    def _experiment(self, name: str) -> str:
        """The experiment's id; made, or restored from the bin, if need be."""
        if name not in self._experiments:
            client = self._connect()
            found = client.get_experiment_by_name(name)
            if found is None:
                # Without a server the files would go below the current folder.
                local = self.uri.startswith("sqlite")
                place = (self.results.resolve() / "mlflow-artifacts" / name).as_uri() if local else None
                self._experiments[name] = client.create_experiment(name, artifact_location=place)
            else:
                if found.lifecycle_stage == "deleted":
                    client.restore_experiment(found.experiment_id)
                self._experiments[name] = found.experiment_id
        return self._experiments[name]

    def _runs(self, name: str) -> dict[str, _Known]:
        """Key -> run, of all that the server has in this experiment; surplus runs of a key are deleted."""
        if name not in self._index:
            client, experiment = self._connect(), self._experiment(name)
            found: dict[str, _Known] = {}
            token = None
            while True:
                page = client.search_runs(
                    [experiment], filter_string=f"tags.`{KEY}` != ''", max_results=500, page_token=token
                )
                for run in page:
                    known = _Known(run.info.run_id, dict(run.data.tags))
                    other = found.setdefault(known.tags[KEY], known)
                    if other is not known:
                        keep, drop = (other, known) if COMPLETE in other.tags else (known, other)
                        client.delete_run(drop.run_id)
                        found[known.tags[KEY]] = keep
                token = page.token
                if not token:
                    break
            self._index[name] = found
        return self._index[name]

    def _send(self, experiment: str, run: Content, folder: Path | None) -> bool:
        """Whether it was sent; False if it is there already."""
        from mlflow.entities import Metric, Param

        client, index = self._connect(), self._runs(experiment)
        there = index.get(run.key)
        if there is not None:
            tags = there.tags
            if COMPLETE in tags and tags.get(DIGEST) == run.digest:
                for name, value in run.labels.items():
                    if tags.get(name) != value:
                        client.set_tag(there.run_id, name, value)
                        tags[name] = value
                return False
            # Cut off half-way, or its trial was run again: begin anew, since points cannot be taken back.
            client.delete_run(there.run_id)
            del index[run.key]
        tags = {**run.labels, **run.tags}
        made = client.create_run(
            self._experiment(experiment), start_time=run.start, tags=tags, run_name=run.name[:NAME_CHARACTERS]
        )
        identifier = made.info.run_id
        params = [Param(k, v) for k, v in run.params.items() if v]
        metrics = [Metric(*m) for m in run.metrics]
        for n in range(0, len(params), PARAMS_A_BATCH):
            client.log_batch(identifier, params=params[n : n + PARAMS_A_BATCH])
        for n in range(0, len(metrics), METRICS_A_BATCH):
            client.log_batch(identifier, metrics=metrics[n : n + METRICS_A_BATCH])
        if folder is not None:
            client.log_artifacts(identifier, str(folder), artifact_path="report")
        client.set_terminated(identifier, run.status, run.end)
        client.set_tag(identifier, COMPLETE, "true")
        index[run.key] = _Known(identifier, {**tags, COMPLETE: "true"})
        return True


def _is_away(error: BaseException | None) -> bool:
    """Whether the server, not this one run, is the trouble."""
    while error is not None:
        module, text = type(error).__module__.partition(".")[0], str(error)
        if isinstance(error, (ConnectionError, TimeoutError)) or module in ("urllib3", "requests"):
            return True
        if re.search(r"failed with exception|error code (429|5\d\d)|OperationalError", text):
            return True
        error = error.__cause__ or error.__context__
    return False


# --- following a run ---------------------------------------------------------------------------------------


class Follower:
    """Mirrors records as they are stored, from a process of its own: ``put`` returns at once, always.

    The process starts with the first record, so a run that stores nothing pays nothing.
    """

    def __init__(self, results: Path | str, uri: str | None = None) -> None:
        self.mirror = Mirror(uri, results)
        self._process: Any = None
        self._queue: Any = None
        self._answers: Any = None
        self._count, self._last = 0, Summary()

    def put(self, row: Row) -> None:
        """Hand over a row whose record has been stored."""
        if row.record is None:
            return
        if self._process is None:
            self._start()
        self._count += 1
        self._listen(0.0)
        if self._process.is_alive():
            self._queue.put((row.planned.model_dump_json(), row.record.model_dump_json()))

    def close(self, seconds: float = 5.0) -> Summary:
        """Give the sender so long to finish; what is not sent then counts as failed, and is noted."""
        if self._process is None:
            return Summary()
        if self._process.is_alive():
            self._queue.put(None)
        self._listen(seconds)
        self._process.kill()
        self._process.join()
        self._queue.close()
        self._process = None
        summary = self._last
        summary.failed = self._count - summary.sent - summary.already
        if summary.failed and not summary.errors:
            summary.errors.append(f"{_public(self.mirror.uri)} did not take all records in time")
        self.mirror.note(summary)
        return summary

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._queue = context.Queue()
        # A server that never reads must not keep this process from ending.
        self._queue.cancel_join_thread()
        self._answers, sender = context.Pipe(duplex=False)
        arguments = (self._queue, sender, self.mirror.uri, str(self.mirror.results))
        self._process = context.Process(target=_follow, args=arguments, daemon=True)
        self._process.start()
        sender.close()

    def _listen(self, seconds: float) -> None:
        """Hear the sender's answers, one after each record, the last of which counts; until it has ended."""
        deadline = time.monotonic() + seconds
        with suppress(EOFError, OSError):
            while self._answers.poll(max(0.0, deadline - time.monotonic())):
                self._last = Summary(**self._answers.recv())


def _follow(queue: Any, answers: Any, uri: str, results: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(OSError):
        os.nice(10)
    mirror, summary = Mirror(uri, results), Summary()
    while not mirror.away:
        item = queue.get()
        if item is None:
            break
        planned, record = item
        row = Row(Planned.model_validate_json(planned), Record.model_validate_json(record))
        summary.add(mirror.send([row]))
        answers.send(summary.as_dict())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
