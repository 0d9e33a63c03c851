"""Fingerprints: the same for failures that differ only in names, different for the rest."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropwell.signatures import essence, signature

ALIKE = {
    "sample and line number": (
        "Error: NA12878.bam, line 7: bad cigar",
        "Error: NA12891.bam, line 90412: bad cigar",
    ),
    "path": (
        "cp: cannot stat '/cromwell_root/b/s1.bam': No such file",
        "cp: cannot stat '/cromwell_root/b/other.bam': No such file",
    ),
    "S3 address": (
        "fatal error reading s3://data/a/x.fq",
        "fatal error reading s3://data/b/deep/er/y.fq",
    ),
    "time and thread": (
        "[2026-11-24 17:44:01,123] [thread-7] ERROR bad magic number",
        "[2026-11-25 03:02:59,001] [thread-12] ERROR bad magic number",
    ),
    "uuid, hash and address": (
        "Error in 6f2c0d1e-58a4-5d0c-9f4e-2b8f6a0c3d11 at 0x7ffdeadbeef",
        "Error in 0e7c5b1a-0000-4d0c-9f4e-aaaaaaaaaaaa at 0x10",
    ),
    "hash without a digit": ("Error: object deadbeef", "Error: object cafebabe"),
    "quoted sample": ('KeyError: "tumour"', 'KeyError: "normal"'),
    "backticks": ("Error: unknown `alpha`", "Error: unknown `beta`"),
    "colours": ("\x1b[31mError\x1b[0m: bad", "Error: bad"),
    "chatter before it": ("loaded 3\nstep one\nError: bad", "Error: bad"),
    "case": ("ERROR: bad", "Error: Bad"),
}

UNLIKE = {
    "words": ("Error: bad cigar", "Error: bad flag"),
    "exception": ("java.io.IOException: no", "java.lang.NullPointerException: no"),
    "apostrophes are no quotes": ("can't open it, don't know", "can't close it, don't know"),
}


@pytest.mark.parametrize("difference", ALIKE)
def test_does_not_see_a_different(difference):
    one, other = ALIKE[difference]
    assert signature("TASK_ERROR", "align", one) == signature("TASK_ERROR", "align", other)


@pytest.mark.parametrize("difference", UNLIKE)
def test_sees_different(difference):
    one, other = UNLIKE[difference]
    assert signature("TASK_ERROR", "align", one) != signature("TASK_ERROR", "align", other)


def test_sees_different_calls_and_causes():
    assert signature("TASK_ERROR", "align", "x") != signature("TASK_ERROR", "sort", "x")
    assert signature("TASK_ERROR", "align", "x") != signature("UNKNOWN", "align", "x")


@pytest.mark.parametrize("cause", ["OUT_OF_MEMORY", "HOST_LOST", "SPOT_RECLAIMED", "TIMEOUT"])
def test_the_last_words_of_a_task_that_was_cut_off_do_not_count(cause):
    assert signature(cause, "align", "Error: one") == signature(cause, "align", "at 40 %")


def test_of_a_log_that_names_no_error_its_end_counts():
    assert essence("one\ntwo\nthree\nfour") == "two\nthree\nfour"


@given(st.text())
def test_is_twelve_hexadecimal_digits_of_any_text(text):
    found = signature("TASK_ERROR", text, text)
    assert len(found) == 12
    assert int(found, 16) >= 0


@pytest.mark.parametrize("piece", ["a", "'", "/", "f", "1", "error", '"x', "a1."])
def test_hostile_text_costs_little(piece):
    began = time.process_time()
    essence(piece * ((1 << 20) // len(piece)))
    essence((piece * 400 + "\n") * 3000)
    assert time.process_time() - began < 1
