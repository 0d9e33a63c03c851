"""Strangers' text: what is shown of it, what is not, and that no text makes it slow."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropwell.text import (
    ascii_subject,
    clean,
    clock,
    duration,
    one_line,
    redact,
    size,
    tail,
)

HOSTILE = st.text() | st.text(alphabet="\x1b[]0;m\r\n\b\t\x9b\u202e\u200d\ud800a=/:@ \"'")


class TestClean:
    @pytest.mark.parametrize(
        ("written", "seen"),
        [
            ("\x1b[1;31mError\x1b[0m", "Error"),
            ("\x1b]0;your title\x07done", "done"),
            ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1bPq#0\x1b\\after", "after"),
            ("\x9b31mred", "red"),
            ("a\x00b\x08c\x7fd\x85e", "abcd\ne"),
            ("gnp\u202egpj.exe\u2066", "gnpgpj.exe"),
            ("pass\u200bword\ufeff", "password"),
            ("one\r\ntwo\u2028three", "one\ntwo\nthree"),
            ("1%\r50%\r100%\ndone", "100%\ndone"),
            ("100%\r\r\nnext", "100%\nnext"),
            ("a\tb", "a\tb"),
            ("lone \ud800 half", "lone \ufffd half"),
            ("größe 日本 🧬", "größe 日本 🧬"),
        ],
    )
    def test_shows_what_a_terminal_would_and_nothing_that_only_acts(self, written, seen):
        assert clean(written) == seen

    def test_replaces_bytes_that_are_no_utf8(self):
        assert clean(b"caf\xe9 \xc3\xa9") == "caf\ufffd é"

    def test_an_unfinished_escape_hides_no_more_than_its_own_line(self):
        assert clean("\x1b]0;hidden\nError: shown") == "\nError: shown"

    def test_a_reading_that_began_midway_loses_its_first_piece_of_a_line(self):
        assert clean("et-key-of-mine\nError", midway=True) == "Error"

    def test_a_reading_midway_of_one_endless_line_keeps_it(self):
        assert clean("no line end", midway=True) == "no line end"

    @given(HOSTILE)
    def test_cleaning_twice_changes_nothing_more(self, text):
        assert clean(clean(text)) == clean(text)

    @given(HOSTILE)
    def test_leaves_no_control_character_but_tab_and_newline(self, text):
        left = {c for c in clean(text) if unicodedata.category(c) in ("Cc", "Cs")}
        assert left <= {"\t", "\n"}


class TestRedact:
    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("id AKIAIOSFODNN7EXAMPLE!", "id AKIA[redacted]!"),
            (
                "ASIAIOSFODNN7EXAMPLE wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY.",
                "ASIA[redacted].",
            ),
            ("aws_secret_access_key = wJalr/XU+nF", "aws_secret_access_key = [redacted]"),
            ('"SecretAccessKey": "wJalr"', '"SecretAccessKey": [redacted]'),
            ("AWS_SESSION_TOKEN=FwoGZXI/abc==", "AWS_SESSION_TOKEN=[redacted]"),
            ("token was IQoJb3JpZ2luX2VjEAAaCXVzLWVhc3QtMSJHMEU", "token was [redacted]"),
            ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
            ("Authorization: AWS4-HMAC-SHA256 Credential=AKI/x, S=1", "Authorization: [redacted]"),
            ("curl -H 'Authorization: Basic dXNlcg==' x", "curl -H 'Authorization: [redacted]' x"),
            ("sent bearer 0123456789abcdef", "sent bearer [redacted]"),
            (
                "https://b.s3.amazonaws.com/k?X-Amz-Credential=AK%2F1&X-Amz-Security-Token=t&a=b",
                "https://b.s3.amazonaws.com/k?X-Amz-Credential=[redacted]"
                "&X-Amz-Security-Token=[redacted]&a=b",
            ),
            (
                "https://x.blob.net/c?sv=1&sig=Zm9v%3D rest",
                "https://x.blob.net/c?sv=1&sig=[redacted] rest",
            ),
            ("git clone https://me:hunter2@git.org/r", "git clone https://[redacted]@git.org/r"),
            ("https://0123456789abcdef01234567@git.org", "https://[redacted]@git.org"),
            ("xoxb-123456789012-abcdefghijkl", "xoxb-[redacted]"),
            (
                "https://hooks.slack.com/services/T0/B0/XXXX ok",
                "https://hooks.slack.com/services/[redacted] ok",
            ),
            ("ghp_0123456789abcdefghijABCDEFGHIJ", "ghp_[redacted]"),
            ("jwt eyJhbGciOiJIUzI1.eyJzdWIiOiIx.c2ln", "jwt [redacted]"),
            ("DB_PASSWORD: 'a b c' next", "DB_PASSWORD: [redacted] next"),
            ("mysql --password hunter2 db", "mysql --password [redacted] db"),
            ("GITHUB_TOKEN=abc def", "GITHUB_TOKEN=[redacted] def"),
            ("api-key=abc&x=1", "api-key=[redacted]&x=1"),
        ],
    )
    def test_takes_out_the_secret_and_keeps_the_shape(self, text, shown):
        assert redact(text) == shown

    def test_takes_out_a_private_key_whole(self):
        key = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nowIB\n-----END RSA PRIVATE KEY-----"
        assert redact(f"a\n{key}\nb") == "a\n-----BEGIN PRIVATE KEY----- [redacted]\nb"

    @pytest.mark.parametrize(
        "cut",
        ["-----BEGIN PRIVATE KEY-----\nMIIEow", "MIIEow\nabc=\n-----END EC PRIVATE KEY-----\nnext"],
    )
    def test_takes_out_a_private_key_that_the_tail_cut_in_two(self, cut):
        assert "MIIEow" not in redact(cut)

    @pytest.mark.parametrize(
        "text",
        [
            "PWD=/cromwell_root",
            "SyntaxError: unexpected token: '}'",
            "the secret of good bread",
            "s3://bucket/AKIA/file.bam",
            "ssh://git@host/repo",
            "sha1 da39a3ee5e6b4b0d3255bfef95601890afd80709",
            "chr1:100-200 read1@0:12",
            "forbearer of news",
        ],
    )
    def test_leaves_ordinary_text_alone(self, text):
        assert redact(text) == text

    @given(st.text())
    def test_redacting_twice_changes_nothing_more(self, text):
        assert redact(redact(text)) == redact(text)


class TestTail:
    def test_keeps_the_last_lines(self):
        assert tail("1\n2\n3\n", 2) == ["2", "3"]

    def test_of_nothing_is_nothing(self):
        assert tail("\n \n", 3) == []

    def test_folds_blank_and_repeated_lines(self):
        assert tail("a\n\n \n\nw\nw\nw\nz", 9) == ["a", "", "w  (3 times)", "z"]

    def test_counts_a_fold_before_the_first_line_kept_no_further(self):
        assert tail("x\nw\nw\nz", 2) == ["w  (2 times)", "z"]

    def test_cuts_over_long_lines_and_still_tells_their_count(self):
        assert tail("y" * 50 + "\n" + "y" * 50, 1, width=20) == ["yyyyyyyy…  (2 times)"]
        assert tail("x" * 50, 1, width=10) == ["xxxxxxxxx…"]

    def test_always_ends_in_the_last_line_that_says_anything(self):
        assert tail("noise\n" * 100 + "Error: why\n\n\n", 1) == ["Error: why"]

    def test_finds_the_last_line_before_a_hole_that_a_crash_left(self):
        assert tail(b"Error: why\n" + b"\0" * 100_000, 3) == ["Error: why"]

    def test_reads_no_more_than_the_end(self):
        assert tail("x\n" + "y" * 100_000, 3, width=10) == ["yyyyyyyyy…"]

    def test_redacts_before_it_cuts(self):
        assert "hunter" not in tail("password=" + "hunter2" * 50, 1, width=20)[0]

    @given(HOSTILE, st.integers(1, 5), st.integers(2, 20))
    def test_is_never_longer_or_wider_than_asked(self, text, lines, width):
        kept = tail(text, lines, width)
        assert len(kept) <= lines
        assert all(len(line) <= max(width, 16) for line in kept)


class TestOneLine:
    def test_makes_one_line_that_calls_nobody(self):
        assert one_line("a\n<!channel>\t<@U1> @here x@here.org") == (
            "a < !channel> < @U1> @ here x@ here.org"
        )

    def test_cuts(self):
        assert one_line("abcdef", 4) == "abc…"


class TestAsciiSubject:
    @pytest.mark.parametrize(
        ("text", "subject"),
        [
            ("[cardio] Größe – “x”…", '[cardio] Grosse - "x"...'),
            ("日本 lauf", "? lauf"),
            ("  \x1b[31m\nBcc: x", "Bcc: x"),
            ("smørrebrød Łódź", "smorrebrod Lodz"),
        ],
    )
    def test_says_it_in_ascii(self, text, subject):
        assert ascii_subject(text) == subject

    @given(HOSTILE)
    def test_is_what_sns_takes(self, text):
        subject = ascii_subject(text)
        assert len(subject) < 100
        assert subject.isascii()
        assert subject.isprintable()
        assert not subject.startswith(" ")


class TestNumbers:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (3600, "1 h"),
            (86400, "1 d"),
        ],
    )
    def test_durations(self, seconds, said):
        assert duration(seconds) == said

    @pytest.mark.parametrize(
        ("count", "said"), [(1000, "1.0 kB"), (999_999, "1.0 MB"), (3 * 10**15, "3.0 PB")]
    )
    def test_sizes(self, count, said):
        assert size(count) == said

    def test_a_time_of_the_same_day_needs_no_date(self):
        assert clock(1_795_542_240, beside=1_795_542_300) == "17:44 UTC"


MEGABYTE = 1 << 20


@pytest.mark.parametrize(
    "hostile",
    [
        "\x1b[0",
        "\x1b]0;",
        "\x1bP",
        "\r",
        "eyJ",
        "eyJa.",
        "password='",
        'password="',
        "password",
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "AKIA",
        "xoxb-",
        "bearer ",
        "authorization: ",
        "&sig=",
        "a" * 64,
        "A ",
        "ghp_",
        "\u202e",
        "x\n",
    ],
)
def test_hostile_text_costs_no_more_than_its_length(hostile):
    text = hostile * (MEGABYTE // len(hostile))
    began = time.process_time()
    tail(text, 40, 200)
    assert time.process_time() - began < 3
