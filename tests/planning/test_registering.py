"""Registrations on disk: appended before trials, named by records, asked for by verdicts, kept with ledgers."""

import json

import pytest
import yaml

from harness import runner
from harness.errors import StoreError, SuiteError
from harness.files import sealed
from harness.planning import compose, registering
from harness.planning.judging import judge
from harness.planning.registration import RANGE
from harness.records.plans import load_rows
from harness.records.store import Store
from harness.report import gather
from harness.workload import Metric, workload_module
from tests.conftest import TOY_SUITE, run_toy
from tests.terminal import here

CLAIM = {
    "says": "AdamW's loss is below nine.", "source": "toy", "kind": "direction", "confirmatory": True,
    "expects": {"below": 9.0}, "made_at": {"tuning": "as here"},
    "estimator": {"name": "mean_value", "arm": "adamw", "metric": "test_loss"},
}  # fmt: skip


class Executor:
    """Runs a toy trial in no time, under the entries that its job names."""

    capacity = 1

    def run(self, jobs, folders, on_event):
        for job in jobs:
            yield job, run_toy(job.trial, registrations=job.registrations)

    def close(self):
        pass


@pytest.fixture
def bench(toy_workload, tmp_path, monkeypatch):
    """Writes the toy suite's file, registers and runs it."""
    shown = Metric(label="test loss", shown=True, compared=True)
    metrics = {"test_loss": shown, "validation_loss": Metric(label="validation loss")}
    monkeypatch.setattr(workload_module("toy"), "METRICS", metrics, raising=False)

    class Bench:
        store = Store(tmp_path / "results")
        file = tmp_path / "toys.yaml"

        def suite(self, profile="cpu", **changes):
            content = {k: v for k, v in TOY_SUITE.items() if k not in ("name", "file")}
            content |= {"claims": {"below": CLAIM}, "profiles": {"cpu": {}, "smoke": {}}, **changes}
            self.file.write_text(yaml.safe_dump(content))
            return compose.load(str(self.file), profile)

        def run(self, suite, reason=""):
            (ready,), under = registering.register([suite], self.store, reason)
            runner.run([ready], self.store, Executor(), registrations=under)
            return ready

        def claim(self, suite):
            rows = load_rows(self.store, suite.key, suite.profile)[1]
            (found,) = judge(suite, rows, registering.registrations(self.store).accepted(suite))
            return found

        def seeds(self, suite):
            rows = load_rows(self.store, suite.key, suite.profile)[1]
            return {r.planned.trial.seed for r in rows if r.planned.role == "evaluation"}

    return Bench()


def resealed(line, **changes):
    """A line altered by somebody who knows how lines are sealed."""
    content = {k: v for k, v in json.loads(line).items() if k != "sha256"}
    return sealed({**content, **changes}).encode()


def lines(file):
    return file.read_bytes().splitlines() if file.is_file() else []


def test_a_run_is_registered_and_its_records_name_the_entry(bench):
    suite = bench.run(bench.suite())
    (entry,) = registering.entries_of(registering.live_file(bench.store))
    assert bench.seeds(suite) == {RANGE, RANGE + 1, RANGE + 2}
    rows = load_rows(bench.store, suite.key, "cpu")[1]
    assert {r.record.registrations[suite.name] for r in rows} == {entry.hash}
    found = bench.claim(suite)
    assert found.verdict not in (None, "exploratory") and found.registration == [entry.hash]
    assert registering.kept_ledger(bench.store, entry.hash)[0]["verdict"] == found.verdict


def test_the_entry_is_there_before_the_first_trial(bench):
    (ready,), under = registering.register([bench.suite()], bench.store)
    seen = []

    class Looking(Executor):
        def run(self, jobs, folders, on_event):
            seen.append(len(lines(registering.live_file(bench.store))))
            yield from super().run(jobs, folders, on_event)

    runner.run([ready], bench.store, Looking(), registrations=under)
    assert seen and set(seen) == {1}


def test_the_same_again_registers_and_runs_nothing(bench):
    suite = bench.run(bench.suite())
    before = lines(registering.live_file(bench.store))
    ready, under = registering.register([bench.suite()], bench.store)
    assert runner.run(ready, bench.store, Executor(), registrations=under).ran == 0
    assert lines(registering.live_file(bench.store)) == before and bench.claim(suite).verdict != "exploratory"


@pytest.mark.parametrize("change", [{"pilot": "--pilot"}, {"profile": "smoke"}])
def test_what_registers_nothing_gives_no_verdict(bench, change):
    suite = bench.suite().model_copy(update=change)
    bench.run(suite)
    assert bench.seeds(suite) == {0, 1, 2}
    assert not registering.live_file(bench.store).is_file()
    assert bench.claim(suite).verdict == ("exploratory" if "pilot" in change else None)


def test_a_pilots_records_never_count_for_the_registered_design(bench):
    pilot = bench.run(bench.suite().model_copy(update={"pilot": "--pilot"}))
    suite = bench.run(bench.suite())
    assert not bench.seeds(suite) & {0, 1, 2}
    assert bench.claim(suite).verdict != "exploratory"
    bench.run(pilot)
    assert bench.claim(suite).verdict == "exploratory"


def test_a_changed_design_asks_for_a_reason_and_keeps_what_the_first_left(bench):
    first = bench.run(bench.suite())
    left = bench.claim(first)
    with pytest.raises(SuiteError, match=r"toys \(cpu\): seeds changed after records exist; .*--reason"):
        registering.register([bench.suite(seeds=4)], bench.store)
    second = bench.run(bench.suite(seeds=4), "one more")
    assert bench.seeds(second) == {2 * RANGE + n for n in range(4)}
    entry = registering.registrations(bench.store).current(second)
    assert entry.reason == "one more" and entry.superseded[0]["estimate"] == left.estimate.parts[0].value
    (shown,) = gather.collect(bench.store, "cpu", [second.key])
    assert shown.history[0]["ledger"] == entry.superseded and shown.history[0]["reason"] == "one more"


def test_a_pilot_in_between_does_not_lose_the_ledger(bench):
    first = bench.run(bench.suite())
    left = registering.kept_ledger(bench.store, registering.registrations(bench.store).current(first).hash)
    bench.run(bench.suite(seeds=5).model_copy(update={"pilot": "overrides"}))
    second = bench.run(bench.suite(seeds=4), "one more")
    assert registering.registrations(bench.store).current(second).superseded == left


def test_claims_that_changed_after_the_records_are_exploratory_until_run_anew(bench):
    suite = bench.run(bench.suite())
    other = bench.suite(claims={"below": {**CLAIM, "expects": {"below": 99.0}}})
    assert bench.claim(other).verdict == "exploratory"
    (shown,) = gather.collect(bench.store, "cpu", [suite.key])
    assert shown.claims[0]["verdict"] == "exploratory"


def test_other_analysis_code_is_put_down_with_both_ledgers(bench, monkeypatch):
    suite = bench.run(bench.suite())
    monkeypatch.setattr("harness.planning.registration.analysis_digest", lambda suite: "other")
    bench.run(bench.suite())
    first, second = registering.entries_of(registering.live_file(bench.store))
    assert second.kind == "analysis" and second.superseded == registering.kept_ledger(bench.store, first.hash)
    assert bench.claim(suite).verdict != "exploratory"


def test_the_reference_takes_its_chain_along_and_nothing_unregistered(bench):
    bench.run(bench.suite())
    words = [str(bench.file), "profile=cpu", "--results", str(bench.store.root)]
    done = here("regress", *words, "--update", "--reason", "first")
    assert done.exit_code == 0, done.output
    committed, live = registering.committed_file(bench.store), registering.live_file(bench.store)
    assert lines(committed) == lines(live)
    here("regress", *words, "--update", "--reason", "again")
    assert lines(committed) == lines(live)
    live.unlink()
    shown = gather.collect(bench.store, "cpu", reference=True)[0]
    assert shown.claims[0]["verdict"] != "exploratory" and shown.plan["ledger"][0]["id"] == "below"
    bench.run(bench.suite(seeds=4).model_copy(update={"pilot": "--pilot"}))
    done = here("regress", *words, "--update", "--reason", "a pilot's")
    assert done.exit_code == 2 and "not registered as it stands" in done.output


def test_a_fresh_clone_goes_on_with_the_committed_chain(bench):
    """Only what is committed is there: the same seeds and entry; a changed design still needs a reason."""
    suite = bench.run(bench.suite())
    words = [str(bench.file), "profile=cpu", "--results", str(bench.store.root)]
    here("regress", *words, "--update", "--reason", "first")
    for left in (registering.live_file(bench.store), *bench.store.record_files(), *bench.store.plans.iterdir()):
        left.unlink()
    registering.ledger_file(bench.store, registering.registrations(bench.store).current(suite).hash).unlink()
    with pytest.raises(SuiteError, match="changed after records exist"):
        registering.register([bench.suite(seeds=4)], bench.store)
    (ready,), _ = registering.register([bench.suite()], bench.store)
    assert ready.first_seed == RANGE and not registering.live_file(bench.store).is_file()
    registering.register([bench.suite(seeds=4)], bench.store, "one more")
    newest = registering.registrations(bench.store).chain(suite.key, "cpu")[-1]
    assert [row["id"] for row in newest.superseded] == ["below"]


def test_damage_is_found_and_named(bench):
    suite = bench.run(bench.suite())
    bench.run(bench.suite(seeds=4), "one more")
    live = registering.live_file(bench.store)
    whole = live.read_bytes()
    assert registering.findings(bench.store.root) == []
    first, second = whole.splitlines(keepends=True)
    for damaged, told in [
        (whole.replace(b"one more", b"nothing!"), "not a registration"),
        (second, "is broken"),
        (first, "which is in neither"),
        (b"", "which is in neither"),
        (whole[:-30], "not a registration"),
        (first + resealed(second, reason="none"), "which is in neither"),
    ]:
        live.write_bytes(damaged)
        found = registering.findings(bench.store.root)
        assert found and any(told in f.what for f in found), damaged
        assert here("verify", "--results", str(bench.store.root)).exit_code == 6
    live.write_bytes(b"{}\n" + whole)
    with pytest.raises(StoreError, match=r"registrations.jsonl:1: not a registration .* restore the file"):
        registering.registrations(bench.store)
    live.write_bytes(whole)
    entry = registering.registrations(bench.store).chain(suite.key, "cpu")[0]
    ledger = registering.ledger_file(bench.store, entry.hash)
    ledger.write_bytes(ledger.read_bytes().replace(b"estimate", b"Estimate"))
    assert [f.path for f in registering.findings(bench.store.root)] == [ledger]


@pytest.mark.parametrize("key", ["first_seed", "pilot"])
def test_a_suite_cannot_set_its_own_seeds(bench, key):
    with pytest.raises(SuiteError, match=f"toys.yaml: key '{key}': set by the harness"):
        bench.suite(**{key: 5})


def test_overrides_make_a_pilot_and_the_plan_says_so(bench):
    bench.suite()
    words = [str(bench.file), "profile=cpu", "--results", str(bench.store.root)]
    assert "harness run registers design" in here("plan", *words).stdout
    assert "registers nothing, gives no verdict: overrides seeds=2" in here("plan", *words, "seeds=2").stdout
    assert "registers nothing, gives no verdict: --pilot" in here("plan", *words, "--pilot").stdout
    bench.run(bench.suite())
    assert "registered as " in here("plan", *words).stdout
    bench.suite(seeds=4)
    assert "changed since the last design: seeds" in here("plan", *words).stdout
