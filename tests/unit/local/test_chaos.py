"""Chaos: how it is told, and that a seed repeats it."""

from __future__ import annotations

import pytest

from dropwell.causes import Actor, Evidence, judge
from dropwell_cli import Failure
from dropwell_cli.sessions import checked_chaos
from dropwell_local.cromwell.chaos import (
    BLOCKAGES,
    DEFAULT_SECONDS,
    FATES,
    OUTAGES,
    UNTOUCHED,
    BadChaos,
    Subject,
    parse,
)
from dropwell_local.engine.endings import fated

SHARDS = [Subject("w.t", shard, 1, 1) for shard in range(400)]


def test_the_same_seed_repeats_whatever_the_order() -> None:
    here, there = parse("seed=7,spot=0.5,lose=0.5"), parse("lose=0.5,spot=0.5,seed=7")
    fates = [here.fate(one, image="i") for one in SHARDS]
    assert fates == [there.fate(one, image="i") for one in reversed(SHARDS)][::-1]
    assert fates != [parse("seed=8,spot=0.5").fate(one, image="i") for one in SHARDS]


def test_a_share_is_about_that_share() -> None:
    hit = sum(bool(parse("oom=0.25").fate(one, image="i")) for one in SHARDS)
    assert 0.15 < hit / len(SHARDS) < 0.35


def test_shares_of_one_and_of_nothing_are_all_and_none() -> None:
    assert all(parse("host=1").fate(one, image="i") for one in SHARDS)
    assert not any(parse("host=0").fate(one, image="i") for one in SHARDS)


def test_no_chaos_touches_nothing() -> None:
    calm = parse("")
    assert calm.fate(SHARDS[0], image="i") == {}
    assert calm.treatment(SHARDS[0], "RUNNING") is UNTOUCHED
    assert calm.outage(12.0) == ""
    assert calm.blockage(12.0) == ("", 0)
    assert str(calm) == ""


@pytest.mark.parametrize(
    ("words", "delays"),
    [
        ("lose=1", ()),
        ("duplicate=1:2", (0.0, 2.0)),
        ("delay=1:9", (9.0,)),
        ("duplicate=1:2,delay=1:9", (9.0, 11.0)),
        ("lose=1,duplicate=1", ()),
    ],
)
def test_events_are_treated_as_told(words: str, delays: tuple[float, ...]) -> None:
    assert parse(words).treatment(SHARDS[0], "FAILED").delays == delays


def test_reordered_events_are_late_each_by_its_own() -> None:
    chaos = parse("reorder=1:2")
    late = {chaos.treatment(one, "RUNNING").delays[0] for one in SHARDS}
    assert len(late) == len(SHARDS)
    assert all(0 <= seconds < 2 for seconds in late)


@pytest.mark.parametrize("name", BLOCKAGES)
def test_a_blockage_lasts_its_window_and_windows_are_told_apart(name: str) -> None:
    chaos = parse(f"seed=3,{name}=0.5:10")
    windows = [chaos.blockage(start * 10.0) for start in range(40)]
    assert {why for why, _ in windows} == {name, ""}
    assert [number for why, number in windows if why] == [
        number for number, (why, _) in enumerate(windows) if why
    ]
    assert [chaos.blockage(start * 10.0 + 9.9) for start in range(40)] == windows


@pytest.mark.parametrize("name", OUTAGES)
def test_an_outage_lasts_its_window(name: str) -> None:
    chaos = parse(f"seed=3,{name}=0.5:10")
    windows = [chaos.outage(start * 10.0) for start in range(40)]
    assert set(windows) == {name, ""}
    assert [chaos.outage(start * 10.0 + 9.9) for start in range(40)] == windows


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("spit=1", "spit is not known; there are duplicate, delay, "),
        ("lose=1.5", "lose=1.5: the share that it happens to is from 0 to 1"),
        ("lose", "'lose' is not like name=share"),
        ("lose=-1", "'lose=-1' is not like name=share"),
        ("seed=1.5", "seed=1.5: a seed is a whole number"),
    ],
)
def test_words_that_cannot_be_followed_are_named(words: str, why: str) -> None:
    with pytest.raises(BadChaos, match=why):
        parse(words)


def test_chaos_survives_being_written_down() -> None:
    words = ",".join(f"{name}=0.5:3" for name in DEFAULT_SECONDS)
    assert parse(str(parse(f"seed=9,{words}"))) == parse(f"seed=9,{words}")


@pytest.mark.parametrize("name", FATES)
def test_every_fate_is_an_ending(name: str) -> None:
    ending = fated(name, image="ubuntu", instance="i-0abc")
    assert ending.status_reason or ending.container_reason or ending.log
    assert ending.exit_code is None or ending.exit_code != 0


@pytest.mark.parametrize("source", ["", "s3://data/ref.fa"])
def test_a_key_that_is_not_open_is_told_as_the_aws_cli_does_and_understood(source: str) -> None:
    ending = fated("kms", image="ubuntu", instance="", source=source)
    verdict = judge(
        Evidence(
            job_status="FAILED",
            exit_code=ending.exit_code,
            rc_present=False,
            job_log="\n".join(ending.log),
        )
    )
    assert source in ending.log[0]
    assert (verdict.rule, verdict.actor) == ("log-input-key-denied", Actor.PLATFORM)


def test_the_command_takes_only_chaos_that_can_be_followed() -> None:
    assert checked_chaos("lose=0.5,seed=2", None) == "seed=2,lose=0.5:0"
    with pytest.raises(Failure, match=r"--chaos: spit is not known; .*\.$"):
        checked_chaos("spit=1", None)


def test_the_command_is_cruel_to_no_cromwell_but_its_own() -> None:
    assert checked_chaos("", "https://cromwell.lab.org") == ""
    with pytest.raises(Failure, match="for the local Cromwell"):
        checked_chaos("lose=1", "https://cromwell.lab.org")
