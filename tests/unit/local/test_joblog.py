"""A job's log holds its script's words around the command's, each line once."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropwell_local.engine import joblog
from dropwell_local.engine.endings import Ending, not_delocalized, not_localized
from dropwell_local.engine.joblog import JobLog

BEGUN = ["*** LOCALIZING INPUTS ***", "*** COMPLETED LOCALIZATION ***"]
DONE = ["DELOCALIZATION RESULT: 0", "*** COMPLETED DELOCALIZATION ***"]


@pytest.fixture
def log(tmp_path: Path) -> JobLog:
    return JobLog(tmp_path / "log", stdout=tmp_path / "out", stderr=tmp_path / "err")


def lines(log: JobLog) -> list[str]:
    return log.file.read_text().splitlines()


def test_a_command_that_has_run_stands_between_the_scripts_words(
    log: JobLog, tmp_path: Path
) -> None:
    (tmp_path / "out").write_text("said")
    (tmp_path / "err").write_text("and warned\n")
    log.localized()
    log.delocalizing()
    log.ended(Ending(exit_code=3, rc=3))
    log.finish()

    last = ["*** DELOCALIZING OUTPUTS ***", *DONE, "*** EXITING WITH RETURN CODE ***", "3"]
    assert lines(log) == [*BEGUN, "said", "and warned", *last]


def test_while_it_runs_whole_lines_come_and_none_comes_twice(
    log: JobLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joblog, "_EVERY_S", 0.0)
    log.localized()
    with (tmp_path / "out").open("w") as out:
        print("one", file=out)
        print("tw", end="", file=out, flush=True)
        assert log.goes_on()
        assert lines(log) == [*BEGUN, "one"]
        assert not log.goes_on()
        print("o", file=out, flush=True)
    log.ended(Ending(exit_code=143))
    log.finish()

    assert lines(log) == [*BEGUN, "one", "two"]


def test_of_much_the_end_is_kept(log: JobLog, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x" * (100 << 10) + "\nlast\n")
    log.finish()

    assert lines(log)[-1] == "last"
    assert log.file.stat().st_size < 70 << 10


def test_inputs_and_outputs_that_are_not_there_are_named(log: JobLog, tmp_path: Path) -> None:
    log.ended(not_localized("fatal error: 404"))
    log.finish()
    assert lines(log) == [BEGUN[0], "fatal error: 404", "*** LOCALIZATION FAILED ***"]

    other = JobLog(tmp_path / "other", stdout=tmp_path / "out", stderr=tmp_path / "err")
    other.delocalizing()
    other.ended(not_delocalized(0, ["/tmp/scratch/a"]))
    other.finish()
    assert "failed to delocalize /tmp/scratch/a after 5 attempts." in lines(other)
    assert lines(other)[-1] == "*** EXITING WITH RETURN CODE 1***"
