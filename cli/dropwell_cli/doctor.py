"""What is sound in a Dropwell and what is not: each check tells what was found and what to do.

Every check is a function over what was fetched (`examining` does that), so that it
can be tried without anything to look at.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from dropwell.cromwell import Feature, TooOld, require
from dropwell.errors import CromwellAway
from dropwell.text import duration, one_line, plural

MINUTE, HOUR, DAY = 60, 3600, 86400

SWEEP_LATE, SWEEP_GONE = 3 * MINUTE, 10 * MINUTE
"""It comes every minute: one that was missed may be a hiccup, ten are not."""

_SKEW_SEEN, _SKEW_REFUSED = 30, 5 * MINUTE
"""AWS refuses what was signed five minutes ago (Signature Version 4, General Reference)."""

_CERTIFICATE_SOON = 14 * DAY
"""The server renews its own six weeks before its end: with two left, nobody did."""

_TAGS_SINCE = 92


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Group(StrEnum):
    """What checks are about."""

    WIRING = "wiring"
    QUEUES = "queues"
    CROMWELL = "Cromwell"
    PEOPLE = "people"
    ACCOUNT = "account"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one check came out.

    Parameters
    ----------
    group : Group
        What it is about.
    name : str
        What was looked at, in a word or two.
    level : Level
        Only `Level.FAIL` makes the whole fail.
    found : str
        What was found.
    cure : str
        What to do; empty where there is nothing to do.
    command : str
        What to type for it, where one line does it.
    """

    group: Group
    name: str
    level: Level
    found: str
    cure: str = ""
    command: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _About:
    """One thing to look at: says how it is."""

    group: Group
    name: str

    def ok(self, found: str) -> Finding:
        return Finding(group=self.group, name=self.name, level=Level.OK, found=found)

    def warn(self, found: str, cure: str, command: str = "") -> Finding:
        return self._ill(Level.WARN, found, cure, command)

    def fail(self, found: str, cure: str, command: str = "") -> Finding:
        return self._ill(Level.FAIL, found, cure, command)

    def _ill(self, level: Level, found: str, cure: str, command: str) -> Finding:
        return Finding(
            group=self.group, name=self.name, level=level, found=found, cure=cure, command=command
        )


def unseen(group: Group, name: str, why: str) -> Finding:
    """Say that something could not be looked at; that is no sign that it is broken."""
    return _About(group, name).warn(
        f"could not be looked at: {why}", "Look again as somebody who may read that."
    )


_REDEPLOY = "Deploy the template again; it puts that back."


# Wiring


def stack(status: str) -> Finding:
    """Judge CloudFormation's status of the stack (StackStatus, CloudFormation API reference)."""
    about = _About(Group.WIRING, "stack")
    if status.endswith("_IN_PROGRESS"):
        return about.warn(f"is being changed: {status}", "Wait until that is done, and look again.")
    if status.endswith("FAILED"):
        return about.fail(
            f"was left half done: {status}",
            "See its events in CloudFormation for the first that failed; mend that, deploy again.",
        )
    return about.ok(status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An EventBridge rule as it is now."""

    name: str
    enabled: bool
    targets: tuple[str, ...]


def rule(name: str, missed: str, known: Rule | None, *, target: str, to: str) -> Finding:
    """Judge a rule by whether it is on and leads where it should.

    Parameters
    ----------
    name : str
        What it brings.
    missed : str
        What happens without it.
    known : Rule or None
        As it is; `None` if it is gone.
    target, to : str
        The ARN that it should lead to, and what to call that.
    """
    about = _About(Group.WIRING, name)
    if known is None:
        return about.fail(f"its rule is gone: {missed}", _REDEPLOY)
    if not known.enabled:
        return about.fail(
            f"its rule is off: {missed}",
            "Turn it on.",
            f"aws events enable-rule --name {known.name}",
        )
    if target not in known.targets:
        return about.fail(
            f"its rule does not lead to {to}: {missed}",
            _REDEPLOY,
        )
    return about.ok(f"on, to {to}")


def _last(arn: str) -> str:
    return arn.rpartition(":")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A Lambda event source mapping as it is now."""

    uuid: str
    state: str
    result: str = ""


def reader(name: str, known: Source | None, *, source: str) -> Finding:
    """Judge whether a function reads what it should.

    States and results are Lambda's (EventSourceMappingConfiguration, API reference).
    """
    about = _About(Group.WIRING, name)
    if known is None:
        return about.fail(f"does not read {source}: the mapping is gone", _REDEPLOY)
    if known.state in ("Disabled", "Disabling"):
        return about.fail(
            f"does not read {source}: the mapping is off",
            "Turn it on.",
            f"aws lambda update-event-source-mapping --uuid {known.uuid} --enabled",
        )
    if known.result.startswith("PROBLEM"):
        return about.fail(
            f"cannot read {source}: {one_line(known.result)}",
            "See the function's role and log; mend what is named there.",
        )
    if known.state != "Enabled":
        return about.warn(f"{known.state} to read {source}", "Look again in a minute.")
    return about.ok(f"reads {source}")


def inbox(told: Collection[str], *, versioned: bool) -> Finding:
    """Judge the inbox bucket by the prefixes it tells the drop queue of, and its versions."""
    about = _About(Group.WIRING, "inbox")
    if missing := sorted({"inbox/", "control/"} - set(told)):
        return about.fail(
            f"the bucket does not tell of what lands under {' and '.join(missing)}",
            f"Something has replaced its notifications. {_REDEPLOY}",
        )
    if not versioned:
        return about.fail(
            "the bucket keeps no versions: a drop has no name, and none is taken",
            "Turn its versioning on, and drop again what was dropped meanwhile.",
        )
    return about.ok("tells DropQueue of drops and control files, and keeps versions")


def workflow_bucket(bucket: str, *, tells: bool) -> Finding:
    """Judge the workflow bucket by whether it tells EventBridge of return codes."""
    about = _About(Group.WIRING, "workflow bucket")
    if not tells:
        return about.fail(
            f"{bucket} does not tell EventBridge what appears in it: no return code is heard of",
            "Turn on its notifications to EventBridge (Properties, Amazon EventBridge).",
        )
    return about.ok("tells EventBridge what appears in it")


def index(indexes: Mapping[str, str], *, table: str) -> Finding:
    """Judge the index `due`, by which the sweep finds what is due.

    Parameters
    ----------
    indexes : mapping
        The table's indexes and their IndexStatus.
    table : str
        Its name.
    """
    about = _About(Group.WIRING, "index")
    if "due" not in indexes:
        return about.fail(
            f"the table {table} has no index due: nothing that was missed is found again",
            "Add the index (due_kind, due_at; keys only) as in template.yaml, or deploy again.",
        )
    if indexes["due"] == "CREATING":
        return about.warn("due is still being filled", "Look again in some minutes.")
    if indexes["due"] != "ACTIVE":
        return about.fail(f"due is {indexes['due']}", _REDEPLOY)
    return about.ok("due is ACTIVE")


def stream(*, on: bool) -> Finding:
    about = _About(Group.WIRING, "stream")
    if not on:
        return about.fail(
            "the table has no stream: notices are said only when the sweep finds them", _REDEPLOY
        )
    return about.ok("hands new notices to the router")


def recovery(*, on: bool, local: bool) -> Finding:
    """Judge point-in-time recovery; the local stack has nothing that outlives it."""
    about = _About(Group.WIRING, "recovery")
    if local:
        return about.ok("not kept on the local stack")
    if not on:
        return about.warn(
            "the table cannot be brought back to an earlier time", f"Turn it on. {_REDEPLOY}"
        )
    return about.ok("the table can be brought back to any time of the last days")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep as it logged itself."""

    at: int
    cromwell_away: bool = False


def sweep(last: Sweep | None, *, now: int, since: int) -> Finding:
    """Judge when the sweep last came to its end.

    Parameters
    ----------
    last : Sweep or None
        The last, `None` if there is none as far as was looked.
    now, since : int
        The time; when the stack was made, as a new one has not swept yet.
    """
    about = _About(Group.WIRING, "last sweep")
    ago = now - last.at if last else None
    if ago is not None and ago <= SWEEP_LATE:
        return about.ok(f"{duration(max(ago, 0))} ago")
    if now - since <= SWEEP_LATE:
        return about.ok(f"none yet: the stack is {duration(max(now - since, 0))} old")
    cure = "See the log of StatusWatcherFunction for what ends it, and the rule of the sweep."
    if ago is None:
        return about.fail(f"none in {duration(SWEEP_GONE)}: nothing missed is found again", cure)
    late = f"{duration(ago)} ago; it should come every minute"
    return about.fail(late, cure) if ago > SWEEP_GONE else about.warn(late, cure)


# Queues


_DEAD = {
    "DropDeadLetters": "Read the submitter's log for what broke; mend it",
    "SightingDeadLetters": "Read the watcher's log for what broke; mend it",
    "DiagnosisDeadLetters": "Read the router's log for what broke; mend it",
    "EventDeadLetters": "Their attributes name the rule and the error; mend the rights",
}


def dead_letters(name: str, waiting: int, *, arn: str) -> Finding:
    """Judge a dead-letter queue: each message in it is something that nobody dealt with."""
    about = _About(Group.QUEUES, name)
    if not waiting:
        return about.ok("empty")
    cure = _DEAD.get(name, "Mend what broke")
    if name == "EventDeadLetters":
        return about.fail(
            f"{plural(waiting, 'event')} could not be delivered",
            f"{cure}, and send each to the queue it was meant for.",
        )
    return about.fail(
        f"{plural(waiting, 'message')} could not be handled",
        f"{cure}, then send them back. That is always safe.",
        f"aws sqs start-message-move-task --source-arn {arn}",
    )


# Cromwell


def unreachable(url: str, why: str, *, private: bool, last: Sweep | None, now: int) -> Finding:
    """Judge a Cromwell to which no connection comes about from this machine.

    One in a private network need not be reachable from here. The functions must
    reach it, and what the last sweep met tells whether they do.
    """
    about = _About(Group.CROMWELL, "answers")
    cure = (
        "See that it runs: on the server, supervisorctl status and the log of cromwell-server."
        " Runs wait meanwhile and are posted when it is back."
    )
    if not private:
        return about.fail(f"{url} cannot be reached: {why}", cure)
    if last and now - last.at <= SWEEP_GONE and last.cromwell_away:
        return about.fail(
            f"{url} did not answer the last sweep either, {duration(max(now - last.at, 0))} ago",
            cure,
        )
    return about.warn(
        f"{url} is not reachable from here ({why}), which is as it should be in a private network",
        "Ask from inside, in a Session Manager session on the server:",
        "curl http://localhost:8000/engine/v1/version",
    )


def not_let_in(why: str) -> Finding:
    """Say that certificate or token do not open Cromwell's door; the client's words tell why."""
    found, _, cure = why.partition(". ")
    return _About(Group.CROMWELL, "answers").fail(found.rstrip("."), cure or "See the proxy's log.")


def keys_unread(what: str, why: str, *, missing: bool) -> Finding:
    """Say that what opens Cromwell's door could not be read, by us or by anybody."""
    about = _About(Group.CROMWELL, "answers")
    if missing:
        return about.fail(
            f"{what} is not there: {why}",
            "Give CromwellCertificateParameter and CromwellTokenSecretArn those of the server.",
        )
    return about.warn(
        f"was not asked: you may not read {what} ({why})",
        "Look again as somebody who may; the functions have rights of their own.",
    )


def strange(url: str, why: str) -> Finding:
    return _About(Group.CROMWELL, "answers").fail(
        f"{url}: {why.rstrip('.')}", "See the server's log; runs wait meanwhile."
    )


def answers(url: str) -> Finding:
    return _About(Group.CROMWELL, "answers").ok(url)


def version(told: str) -> Finding:
    """Judge Cromwell's version by what we need of it.

    >>> version("74").level
    <Level.FAIL: 'fail'>
    >>> version("90").found
    'is 90: projects cannot have job roles of their own (91), jobs bear no tags (92)'
    """
    about = _About(Group.CROMWELL, "version")
    upgrade = "Upgrade Cromwell, with a snapshot of its database first: there is no way back."
    try:
        require(told, Feature.SUBMISSION)
    except TooOld:
        return about.fail(
            f"is {told}: before 75 nobody can choose the id of a run, so nothing is submitted",
            upgrade,
        )
    except CromwellAway as problem:
        return about.fail(str(problem), "See what answers at CromwellUrl.")
    release = int(re.split(r"\D", told, maxsplit=1)[0])  # `require` has seen that it begins so
    lacking = [
        text
        for since, text in (
            (Feature.JOB_ROLES.value[0], "projects cannot have job roles of their own"),
            (_TAGS_SINCE, "jobs bear no tags"),
        )
        if release < since
        for text in (f"{text} ({since})",)
    ]
    if lacking:
        return about.warn(f"is {told}: {', '.join(lacking)}", f"Not needed to run. {upgrade}")
    return about.ok(f"is {told}")


def certificate(ends: int, *, now: int) -> Finding:
    """Judge the certificate that Cromwell's door shows by its days left."""
    about = _About(Group.CROMWELL, "certificate")
    cure = (
        "The server renews its own; see journalctl -u dropwell-certificate there. Renew one of"
        " your own in the secret that holds it."
    )
    left = ends - now
    if left <= 0:
        return about.fail(f"has expired, {_days(-left)} ago: nobody lets it in", cure)
    if left < _CERTIFICATE_SOON:
        return about.warn(f"ends in {_days(left)}", cure)
    return about.ok(f"good for {_days(left)} more")


def _days(seconds: int) -> str:
    return plural(seconds // DAY, "day")


def no_certificate() -> Finding:
    return _About(Group.CROMWELL, "certificate").ok("none: it is plain http")


def tags(tagged: int, untagged: int, strays: int) -> Finding:
    """Judge whether jobs bear Cromwell's tags, by which their calls are known at once.

    Parameters
    ----------
    tagged, untagged : int
        Of the latest jobs that Batch still knows.
    strays : int
        Jobs of the last week that no run could be found for.
    """
    about = _About(Group.CROMWELL, "tags")
    if strays:
        return about.warn(
            f"{plural(strays, 'job')} of the last 7 days could be given to no run",
            "Turn tagResources on in Cromwell's AWSBATCH backend, and see that ScriptBucketName"
            " is its scriptBucketName.",
        )
    if untagged and not tagged:
        return about.warn(
            f"are off: none on the latest {plural(untagged, 'job')}; each costs a read of S3 more",
            "Set tagResources = true in Cromwell's AWSBATCH backend (92 or later), and restart it.",
        )
    if not tagged:
        return about.ok("no job yet to tell by")
    return about.ok(f"on {tagged} of the latest {plural(tagged + untagged, 'job')}")


# People


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription to the mail topic.

    Parameters
    ----------
    endpoint, protocol : str
        Where it leads.
    pending : bool
        Nobody has confirmed it.
    authenticated : bool
        It was confirmed with a signature: then only its owner's can end it
        (ConfirmationWasAuthenticated, GetSubscriptionAttributes of the SNS API reference).
    """

    endpoint: str
    protocol: str
    pending: bool = False
    authenticated: bool = False


def people(subscriptions: Sequence[Subscription], *, topic: str) -> list[Finding]:
    """Judge who hears: confirmed or not, and whether a forwarded mail could end it."""
    if not subscriptions:
        return [
            _About(Group.PEOPLE, "mails").warn(
                "nobody is subscribed: nobody hears",
                "Subscribe somebody, who then confirms.",
                f"aws sns subscribe --topic-arn {topic} --protocol email --notification-endpoint"
                " NAME@EXAMPLE.ORG",
            )
        ]
    return [_subscription(one, topic) for one in subscriptions]


def _subscription(one: Subscription, topic: str) -> Finding:
    about = _About(Group.PEOPLE, one_line(_last(one.endpoint)))
    if one.pending:
        return about.fail(
            "is not confirmed: nothing is sent there, and AWS forgets it after two days",
            "Confirm it by the link in AWS's mail; is that gone, subscribe once more. To confirm"
            " safely, use the Token of the link:",
            _confirm(topic),
        )
    if one.protocol in ("email", "email-json") and not one.authenticated:
        return about.warn(
            "hears, but whoever is sent a mail on can end that by its unsubscribe link",
            "Subscribe it anew, and confirm with the Token of the link in AWS's mail instead of"
            " opening it:",
            _confirm(topic),
        )
    return about.ok(f"hears ({one.protocol})")


def _confirm(topic: str) -> str:
    return (
        f"aws sns confirm-subscription --topic-arn {topic} --token TOKEN"
        " --authenticate-on-unsubscribe true"
    )


# Account


def clock(theirs: int, *, now: int) -> Finding:
    """Judge this machine's clock by that of AWS's answer."""
    about = _About(Group.ACCOUNT, "clock")
    skew = now - theirs
    if abs(skew) <= _SKEW_SEEN:
        return about.ok("as AWS's")
    found = f"this machine's is {duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} AWS's"
    cure = "Set it by the network: timedatectl set-ntp true, or chrony."
    if abs(skew) < _SKEW_REFUSED:
        return about.warn(f"{found}; from 5 minutes on AWS refuses requests", cure)
    return about.fail(f"{found}; AWS refuses what is signed so", cure)


def service_role(name: str, *, there: bool, service: str) -> Finding:
    """Judge a service-linked role; AWS makes it with the first use, if that is allowed."""
    about = _About(Group.ACCOUNT, f"role for {service}")
    if there:
        return about.ok(name)
    return about.warn(
        f"there is no {name}: no job has ever run on it in this account",
        "It is made at the first use, if whoever that is may; or now:",
        f"aws iam create-service-linked-role --aws-service-name {service}.amazonaws.com",
    )


# As a whole


def sound(findings: Sequence[Finding]) -> bool:
    """Return whether nothing fails."""
    return not any(one.level is Level.FAIL for one in findings)


def verdict(findings: Sequence[Finding]) -> str:
    """Sum up.

    >>> verdict([stack("CREATE_COMPLETE"), stream(on=True)])
    'All 2 checks are well.'
    >>> verdict([stack("CREATE_COMPLETE"), stream(on=False)])
    'Of 2 checks 1 fails.'
    """
    levels = [one.level for one in findings]
    failing, warning = levels.count(Level.FAIL), levels.count(Level.WARN)
    if not failing and not warning:
        return f"All {len(levels)} checks are well."
    told = [
        f"{failing} {'fails' if failing == 1 else 'fail'}" if failing else "",
        f"{warning} {'warns' if warning == 1 else 'warn'}" if warning else "",
    ]
    return f"Of {len(levels)} checks {' and '.join(filter(None, told))}."


def report(place: str, findings: Sequence[Finding]) -> dict[str, Any]:
    """Return what was found as programs read it."""
    return {
        "place": place,
        "sound": sound(findings),
        "checks": [one.as_json() for one in findings],
    }
