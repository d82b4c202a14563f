"""`harness verify` over a toy run."""

import json

from tests.terminal import here


def test_a_whole_folder_is_fine(toy_run):
    done = here("verify", "--results", toy_run.results)
    assert (done.exit_code, done.stdout) == (0, f"{toy_run.results}: 0 damaged, 0 notes\n")


def test_damage_is_named_and_exits_6(toy_run):
    path = next(toy_run.store.record_files())
    path.write_text(path.read_text().replace('"status":"completed"', '"status":"diverged"'))
    done = here("verify", "--results", toy_run.results)
    assert done.exit_code == 6
    assert f"damaged: {path}: its content is not what its checksum says; its trial will run again" in done.stderr
    assert "1 damaged, 0 notes" in done.stdout
    found = json.loads(here("verify", "--results", toy_run.results, "--json").stdout)
    assert [(f["path"], f["damaged"]) for f in found] == [(str(path), True)]


def test_a_record_in_quarantine_is_a_note_and_missed(toy_run):
    path = next(toy_run.store.record_files())
    path.write_bytes(path.read_bytes()[:-1])
    toy_run.store.load()
    done = here("verify", "--results", toy_run.results)
    assert "note: " in done.stderr and "in quarantine" in done.stderr
    assert done.exit_code == 6, "the plan still counts the record"
