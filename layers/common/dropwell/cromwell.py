"""Cromwell's REST API: what we ask of it, and what each of its answers means to us.

Routes, status codes and messages are those of Cromwell 75 to 92
(CromwellApiService.scala, PartialWorkflowSources.scala, MetadataRouteSupport.scala).
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationValueError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from dropwell.calls import UNSCATTERED, CallId
from dropwell.errors import (
    CromwellAway,
    DropwellError,
    Final,
    NotLetIn,
    Refused,
    TryAgain,
    UnclearRefusal,
    UnknownRun,
)
from dropwell.ports import FailedCall, Submission

CONNECT_SECONDS = 3.0
READ_SECONDS = 30.0
"""Below the 40 s after which Cromwell itself gives up on a request (application.conf)."""

_DETAIL_SECONDS = 8.0
_IDS_A_PAGE = 200
_SMALL = 1 << 20
_LARGE = 64 << 20
_CHUNK = 1 << 16
_LONGEST_TEXT = 4_000
_MOST_MESSAGES = 50
_ARRAY_MESSAGE = "To submit more than one workflow at a time, use the batch endpoint."
_UNKNOWN_FIELD = "Unexpected body part name: requestedWorkflowId"
_TOO_MANY_ROWS = "cannot be served because row count"  # services/metadata/package.scala
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750
_WRONG_NAME = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH
_WRONG_TIME = (9, 10)  # X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED
_TITLE = re.compile(r"<title>\s*(.*?)\s*</title>", re.IGNORECASE | re.DOTALL)

Json = Any
"""A value as `json.loads` gives it; nothing about it is taken for granted."""


class TooOld(CromwellAway):
    """This Cromwell lacks what we need of it; what waits is sent again once it is upgraded."""


class Feature(Enum):
    """What we need of a Cromwell, with the first release that has it (its CHANGELOG)."""

    SUBMISSION = (75, "choosing the id of a run when it is submitted")
    JOB_ROLES = (91, "a job role for each project (aws_batch_job_role_arn)")


def require(version: str, *features: Feature) -> None:
    """Make sure that a Cromwell of some version has what we need.

    Parameters
    ----------
    version : str
        As Cromwell tells it: ``92``, or ``87-ab12cde-SNAP`` for a build between releases.
    *features : Feature
        What is needed.

    Raises
    ------
    TooOld
        If one of them came with a later release, naming both.
    CromwellAway
        If the version is none that Cromwell would have.

    Examples
    --------
    >>> require("92", Feature.SUBMISSION, Feature.JOB_ROLES)
    >>> require("87-ab12cde-SNAP", Feature.JOB_ROLES)
    Traceback (most recent call last):
    dropwell.cromwell.TooOld: This Cromwell is 87-ab12cde-SNAP; a job role for each project \
(aws_batch_job_role_arn) needs 91 or later. Upgrade Cromwell, or do without.
    """
    release = re.match(r"\d+", version)
    if release is None:
        raise CromwellAway(f"The server calls itself version {version!r}: is it Cromwell?")
    for feature in features:
        since, what = feature.value
        if int(release[0]) < since:
            raise TooOld(
                f"This Cromwell is {version}; {what} needs {since} or later."
                " Upgrade Cromwell, or do without."
            )


class Kept(Protocol):
    """A text that is kept elsewhere and may change there while we run."""

    def read(self, *, afresh: bool = False) -> str:
        """Return the text as it was last read, or read it once more.

        Raises
        ------
        TryAgain
            It cannot be read, and why.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Keys:
    """What opens Cromwell's door, `None` where none was set."""

    token: str | None = field(default=None, repr=False)
    certificates: str | None = None


class Cromwell:
    """A Cromwell server.

    Every request goes over a connection of its own: a function that was frozen
    between two events would wake holding connections that have died meanwhile,
    and the submission sent over one of them would seem lost.

    Parameters
    ----------
    url : str
        Where it listens, without ``/api``: ``https://cromwell.internal:8443``.
    connect_timeout, read_timeout : float
        Seconds; the latter also bounds the reading of a whole answer.
    token : Kept, optional
        The bearer token that the proxy before Cromwell asks for.
    certificates : Kept, optional
        The only certificates to trust, in PEM form one after another, so that the
        next may stand beside the one in use. Without, whom the machine trusts.
    when_shut_out : callable, optional
        Told why, each time that `NotLetIn` is raised: it is the operator who has to act.

    Raises
    ------
    CromwellAway
        Any method: refused, timed out, 5xx, or an answer that is not Cromwell's.
        Whether Cromwell acted is then unknown.
    NotLetIn
        Any method: the token is refused, or the certificate is none that is to be
        trusted, even after both were read afresh. Cromwell saw nothing.
    Final
        Any read: the answer is larger than Cromwell will serve or we will read.
    """

    def __init__(
        self,
        url: str,
        *,
        connect_timeout: float = CONNECT_SECONDS,
        read_timeout: float = READ_SECONDS,
        token: Kept | None = None,
        certificates: Kept | None = None,
        when_shut_out: Callable[[str], None] = lambda why: None,
    ) -> None:
        self._url = url.rstrip("/")
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._token = token
        self._certificates = certificates
        self._when_shut_out = when_shut_out

    def submit(self, submission: Submission) -> str:
        """Start a run, and return Cromwell's status of it: ``Submitted`` or ``On Hold``.

        Sent once. After `CromwellAway` the same submission may be sent again at
        any time: its id makes sure that there is one run.

        Raises
        ------
        Refused
            Cromwell will not have it, in Cromwell's words.
        UnclearRefusal
            Cromwell said no, perhaps because it has the run already: ask `status`.
        TooOld
            Cromwell is older than 75, or than 91 where a job role is asked for: it
            would run the jobs with another role and not say so.
        """
        if "aws_batch_job_role_arn" in submission.options:
            require(self.version(), Feature.JOB_ROLES)
        body, content_type = urllib3.encode_multipart_formdata(_form(submission))
        answer = self._ask(
            "POST", "/api/workflows/v1", body=body, headers={"Content-Type": content_type}
        )
        if not answer.good:
            raise _refusal(answer)
        told = answer.mapping()
        accepted = _text(told.get("id"))
        if accepted and accepted.lower() != submission.run_id.lower():
            raise Refused(
                f"Cromwell started the run under another id than the one we chose, {accepted}."
                " Nothing more is sent; look for it in Cromwell."
            )
        return _status_of(told)

    def status(self, run_id: str) -> str:
        """Return Cromwell's status of a run.

        Raises
        ------
        UnknownRun
            Cromwell has no such run, or does not show it yet: reads lag a
            submission by seconds.
        """
        return _status_of(self._read(f"{_workflow(run_id)}/status").mapping())

    def statuses(self, run_ids: Iterable[str]) -> dict[str, str]:
        """Return Cromwell's status of each of many runs; those it does not show are left out."""
        wanted = list(dict.fromkeys(run_ids))
        found: dict[str, str] = {}
        for start in range(0, len(wanted), _IDS_A_PAGE):
            page = [{"id": run_id} for run_id in wanted[start : start + _IDS_A_PAGE]]
            answer = self._read(
                "/api/workflows/v1/query",
                method="POST",
                body=json.dumps([{"includeSubworkflows": "false"}, *page]).encode(),
                headers={"Content-Type": "application/json"},
                cap=_LARGE,
            )
            results = answer.mapping().get("results")
            if not isinstance(results, list):
                raise CromwellAway("Cromwell's answer to a query holds no results.")
            for result in filter(_is_mapping, results):
                run_id, status = _text(result.get("id")), _text(result.get("status"))
                if run_id and status:
                    found[run_id] = status
        return found

    def outputs(self, run_id: str) -> dict[str, Json]:
        """Return a run's outputs, none as long as it has none.

        Raises
        ------
        UnknownRun
            See `status`.
        """
        outputs = self._read(f"{_workflow(run_id)}/outputs", cap=_LARGE).mapping().get("outputs")
        return outputs if isinstance(outputs, dict) else {}

    def failed_jobs(self, run_id: str) -> list[FailedCall]:
        """Return every attempt of a run's calls that failed, sub-workflows included.

        Two requests, because neither is enough. ``/metadata`` with only the
        keys that failures have is complete and grows with the failures, not
        with the shards. ``/metadata/failed-jobs`` knows more (job, return code,
        files), but of each call it tells only the last attempt of the last
        shard, and nothing when a shard before that one failed
        (MetadataEntryComponent.scala, failedJobsMetadataWithWorkflowId); older
        servers lack it, and it can be slow. So the first says which calls
        failed and the second, if it answers, more about some of them.

        Raises
        ------
        UnknownRun
            See `status`.
        """
        told = self._metadata(
            run_id, "failures", "retryableFailure", "subWorkflowId", expand_sub_workflows=True
        )
        failed = _failed_calls(told, run_id)
        if not failed:
            return []
        fuller = {call.call_id: call for call in self._failed_jobs(run_id)}
        return [
            replace(
                fuller.get(call.call_id, call),
                execution_status=call.execution_status,
                messages=call.messages,
            )
            for call in failed
        ]

    def failures(self, run_id: str) -> tuple[str, ...]:
        """Return why a run failed as a whole, from the outermost message to its causes.

        Raises
        ------
        UnknownRun
            See `status`.
        """
        return _messages(self._metadata(run_id, "failures").get("failures"))

    def abort(self, run_id: str) -> str:
        """Stop a run, and return ``Aborted`` if it had not begun, otherwise ``Aborting``.

        Raises
        ------
        UnknownRun
            Cromwell has no such run, or it has ended already.
        """
        return self._act(run_id, "abort")

    def release(self, run_id: str) -> str:
        """Let a run on hold begin, and return its status.

        Raises
        ------
        UnknownRun
            See `status`.
        Refused
            It is not on hold.
        """
        return self._act(run_id, "releaseHold")

    def version(self) -> str:
        """Return Cromwell's version; see `require`. Also the way to see whether it is there."""
        version = _text(self._read("/engine/v1/version").mapping().get("cromwell"))
        if not version:
            raise CromwellAway("The server does not tell a Cromwell version: is it Cromwell?")
        return version

    def _act(self, run_id: str, action: str) -> str:
        answer = self._ask("POST", f"{_workflow(run_id)}/{action}")
        if not answer.good:
            raise _fault(answer)
        return _status_of(answer.mapping())

    def _metadata(
        self, run_id: str, *keys: str, expand_sub_workflows: bool = False
    ) -> Mapping[str, Json]:
        query = [("includeKey", key) for key in keys]
        query.append(("expandSubWorkflows", str(expand_sub_workflows).lower()))
        path = f"{_workflow(run_id)}/metadata?{urlencode(query)}"
        return self._read(path, cap=_LARGE).mapping()

    def _failed_jobs(self, run_id: str) -> Iterator[FailedCall]:
        try:
            answer = self._ask(
                "GET",
                f"{_workflow(run_id)}/metadata/failed-jobs",
                cap=_LARGE,
                read_timeout=min(_DETAIL_SECONDS, self._read_timeout),
            )
            by_workflow = answer.mapping() if answer.good else {}
        except CromwellAway:
            return
        for workflow_id, told in by_workflow.items():
            if isinstance(told, dict):
                yield from _failed_calls(told, workflow_id)

    def _read(
        self,
        path: str,
        *,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        cap: int = _SMALL,
    ) -> _Answer:
        """Ask for something that changes nothing, once more if the connection breaks."""
        try:
            answer = self._ask(method, path, body=body, headers=headers, cap=cap)
        except _BrokenOff:
            answer = self._ask(method, path, body=body, headers=headers, cap=cap)
        if not answer.good:
            raise _fault(answer)
        return answer

    def _ask(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        cap: int = _SMALL,
        read_timeout: float | None = None,
    ) -> _Answer:
        """Ask once; once more only if token or certificates have changed since they were read.

        What did not let us in had not passed anything on to Cromwell, so that a
        submission too may be sent once more.
        """
        request = _Request(
            method,
            f"{self._url}{path}",
            body,
            headers or {},
            self._connect_timeout,
            self._read_timeout if read_timeout is None else read_timeout,
        )
        try:
            keys = self._keys()
            try:
                return _sent(request, keys, cap)
            except NotLetIn:
                changed = self._keys(afresh=True)
                if changed == keys:
                    raise
            return _sent(request, changed, cap)
        except NotLetIn as shut:
            self._when_shut_out(str(shut))
            raise

    def _keys(self, *, afresh: bool = False) -> _Keys:
        if not (self._token or self._certificates):
            return _Keys()
        if not self._url.startswith("https://"):
            raise NotLetIn(
                "Cromwell's address is not https, but its token or certificate is set: nothing"
                " is sent in the clear. The operator should give CromwellUrl with https, or"
                " leave both settings empty."
            )
        try:
            return _Keys(
                token=self._token.read(afresh=afresh).strip() if self._token else None,
                certificates=self._certificates.read(afresh=afresh) if self._certificates else None,
            )
        except TryAgain as problem:
            raise NotLetIn(f"What opens Cromwell's door is missing: {problem}") from problem


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    connect_seconds: float
    seconds: float


def _sent(request: _Request, keys: _Keys, cap: int) -> _Answer:
    """Send a request over a connection of its own, and return what was answered."""
    trusted = None if keys.certificates is None else _trusting(keys.certificates)
    own = {"Accept": "application/json", "User-Agent": "dropwell", "Connection": "close"}
    with urllib3.PoolManager(ssl_context=trusted) as connections:
        try:
            response = connections.request(
                request.method,
                request.url,
                body=request.body,
                headers={**own, **_authorization(keys.token), **request.headers},
                timeout=urllib3.Timeout(connect=request.connect_seconds, read=request.seconds),
                retries=False,
                redirect=False,
                preload_content=False,
            )
        except HTTPError as error:
            raise _away(error, request.seconds, pinned=bool(trusted)) from error
        answer = _answer(response, cap, request.seconds)
    if answer.status in (401, 403, 407) and (answer.status != 403 or answer.message is None):
        raise _shut(answer, keys)
    return answer


def _shut(answer: _Answer, keys: _Keys) -> NotLetIn:
    if answer.status == 401 and keys.token is not None:
        return NotLetIn(
            "Cromwell's door refuses our token (401), also as its secret holds it now. The"
            " operator should see that CromwellTokenSecretArn is the secret that the server"
            " reads; the server takes a changed one within a minute."
        )
    return NotLetIn(
        f"Cromwell's door would not let us in ({answer.status}: {_said(answer)})."
        " The operator should look at the token (CromwellTokenSecretArn) and the proxy."
    )


def _authorization(token: str | None) -> dict[str, str]:
    if token is None:
        return {}
    if not _TOKEN.fullmatch(token):
        raise NotLetIn(
            "The secret of CromwellTokenSecretArn is no token: letters, digits and"
            " . _ ~ + / - are expected, and nothing around them."
        )
    return {"Authorization": f"Bearer {token}"}


@lru_cache(maxsize=2)
def _trusting(certificates: str) -> ssl.SSLContext:
    """Return what trusts these certificates and no other, for their names only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # One that some authority has signed may be pinned without its authority.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=certificates)
    except (ssl.SSLError, ValueError, TypeError) as problem:
        raise NotLetIn(
            "The parameter of CromwellCertificateParameter holds no certificate in PEM form."
            " The server publishes its own there."
        ) from problem
    return context


class _BrokenOff(CromwellAway):
    """The connection failed, at once or midway; another may not."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    content: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def message(self) -> str | None:
        """Cromwell's own error message (WebServiceUtils.scala), `None` if it is not Cromwell's."""
        told = self._json()
        if isinstance(told, dict) and told.get("status") in ("fail", "error"):
            return _text(told.get("message"))[:_LONGEST_TEXT]
        return None

    @property
    def text(self) -> str:
        """What was said, in one line, whoever said it."""
        if (message := self.message) is not None:
            return message
        text = self.content[:_CHUNK].decode(errors="replace")
        title = _TITLE.search(text)
        return " ".join((title[1] if title else text).split())[:200]

    def mapping(self) -> Mapping[str, Json]:
        """Return the JSON object that was answered."""
        told = self._json()
        if not isinstance(told, dict):
            raise CromwellAway(
                f"The server answered {self.status} with something other than Cromwell's JSON:"
                f" {self.text or 'nothing'}. Does the address lead to Cromwell itself?"
            )
        return told

    def _json(self) -> Json:
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError):
            return None


def _form(submission: Submission) -> list[tuple[str, str | bytes]]:
    form: list[tuple[str, str | bytes]] = [
        ("workflowSource", submission.source),
        ("workflowType", "WDL"),
        ("workflowInputs", json.dumps(dict(submission.inputs), allow_nan=False)),
        ("requestedWorkflowId", json.dumps(submission.run_id)),
    ]
    if submission.options:
        form.append(("workflowOptions", json.dumps(dict(submission.options), allow_nan=False)))
    if submission.labels:
        form.append(("labels", json.dumps(dict(submission.labels))))
    if submission.dependencies is not None:
        form.append(("workflowDependencies", submission.dependencies))
    if submission.on_hold:
        form.append(("workflowOnHold", "true"))
    return form


def _workflow(run_id: str) -> str:
    return f"/api/workflows/v1/{quote(run_id, safe='')}"


def _answer(response: urllib3.BaseHTTPResponse, cap: int, seconds: float) -> _Answer:
    """Read an answer; one that says no says so by its status, even if it cannot be read."""
    try:
        return _Answer(response.status, _content(response, cap, time.monotonic() + seconds))
    except HTTPError as error:
        if response.status < 400:
            raise _away(error, seconds) from error
        return _Answer(response.status, b"")
    finally:
        response.close()


def _content(response: urllib3.BaseHTTPResponse, cap: int, until: float) -> bytes:
    content = bytearray()
    while chunk := response.read1(_CHUNK):
        content += chunk
        if len(content) > cap:
            raise Final(f"Cromwell's answer is larger than {cap >> 20} MiB; not read.")
        if time.monotonic() > until:
            raise CromwellAway("Cromwell's answer came too slowly; not read to its end.")
    return bytes(content)


def _away(error: HTTPError, seconds: float, *, pinned: bool = False) -> CromwellAway:
    match error:
        case ReadTimeoutError():
            return CromwellAway(f"Cromwell did not answer within {seconds:g} s.")
        case NewConnectionError():
            return _BrokenOff(f"Cromwell could not be reached: {str(error).rpartition(': ')[2]}.")
        case ConnectTimeoutError():
            return CromwellAway("Cromwell could not be reached: no connection in time.")
        case LocationValueError():
            return CromwellAway(f"Cromwell's address cannot be used: {error}")
        case SSLError(args=(ssl.SSLCertVerificationError() as untrusted, *_)):
            return _untrusted(untrusted, pinned=pinned)
        case SSLError():
            return CromwellAway(f"The secure connection to Cromwell failed: {error}")
        case _:
            return _BrokenOff("The connection to Cromwell broke off before it had answered.")


def _untrusted(error: ssl.SSLCertVerificationError, *, pinned: bool) -> NotLetIn:
    """Tell why the certificate that was shown is not trusted; nothing was sent."""
    said = error.verify_message.rstrip(".")
    if error.verify_code in _WRONG_NAME:
        return NotLetIn(
            f"Cromwell's certificate is trusted, but not for this address: {said}. The operator"
            " should give CromwellUrl with a name that the certificate has."
        )
    if error.verify_code in _WRONG_TIME:
        return NotLetIn(
            f"Cromwell's certificate cannot be trusted today: {said}. The operator should see"
            " that the server renews it, and that the clock is right."
        )
    if pinned:
        return NotLetIn(
            "The certificate that Cromwell shows is none of the pinned ones, also as"
            f" CromwellCertificateParameter holds them now ({said}). The operator should see"
            " whether the server published its own there; if it did, something else answers"
            " at this address."
        )
    return NotLetIn(
        f"Nobody whom we know vouches for Cromwell's certificate ({said}). The operator should"
        " pin it: CromwellCertificateParameter."
    )


def _refusal(answer: _Answer) -> DropwellError:
    """Tell what a submission that was not accepted came to."""
    match answer.status:
        case 413:
            return Refused(
                "What was to be submitted is larger than Cromwell, or the proxy before it,"
                " takes. Drop a smaller bundle, or ask the operator to raise the body limits"
                " (akka.http.server.parsing.max-content-length, client_max_body_size)."
            )
        case 400:
            said = answer.message or ""
            if said.startswith("Error(s): ") and _UNKNOWN_FIELD in said:
                return TooOld(
                    "This Cromwell does not let us choose the id of a run: it is older than 75."
                    " Upgrade Cromwell; what waits is then sent."
                )
            if said.startswith("Error(s): ") or said == _ARRAY_MESSAGE:
                return Refused(said)
            return UnclearRefusal(answer.text)
        case 404:
            return _misplaced(answer)
        case _:
            return _fault(answer)


def _fault(answer: _Answer) -> DropwellError:
    """Tell what an answer that is no success means, by its status first."""
    match answer.status:
        case 404 if answer.message is not None:
            return UnknownRun(answer.message)
        case 400 | 403 if answer.message is not None:
            return Refused(answer.message)
        case 404 | 405:
            return _misplaced(answer)
        case status if 300 <= status < 400:
            return CromwellAway(
                f"The server sends us elsewhere ({status}). Does the address lead to Cromwell"
                " itself, with the right scheme?"
            )
        case 500 if _TOO_MANY_ROWS in (answer.message or ""):
            return Final(answer.text)
        case status:
            return CromwellAway(f"Cromwell answered {status}: {_said(answer)}.")


def _said(answer: _Answer) -> str:
    return answer.text.rstrip(".") or "nothing more"


def _misplaced(answer: _Answer) -> CromwellAway:
    return CromwellAway(
        f"The server has no such route ({answer.status}: {_said(answer)}). Does"
        " the address lead to Cromwell itself? It should end before /api."
    )


def _failed_calls(metadata: Mapping[str, Json], workflow_id: str) -> list[FailedCall]:
    """Return the failed calls of a workflow's metadata and of the sub-workflows within.

    A sub-workflow's own call fails with what failed inside; it is told only
    when nothing inside explains it.
    """
    workflow_id = _text(metadata.get("id")) or workflow_id
    calls = metadata.get("calls")
    failed: list[FailedCall] = []
    for fqn, entries in calls.items() if isinstance(calls, dict) else ():
        for entry in filter(_is_mapping, entries if isinstance(entries, list) else ()):
            sub_workflow = entry.get("subWorkflowMetadata")
            inside = _failed_calls(sub_workflow, "") if isinstance(sub_workflow, dict) else []
            failed += inside
            if entry.get("failures") and not any(call.lasting for call in inside):
                failed.append(_failed_call(workflow_id, fqn, entry))
    return failed


def _failed_call(workflow_id: str, fqn: str, entry: Mapping[str, Json]) -> FailedCall:
    shard, attempt = _whole(entry.get("shardIndex")), _whole(entry.get("attempt"))
    return FailedCall(
        fqn=fqn,
        call_id=CallId(
            workflow_id=workflow_id,
            call=fqn.rpartition(".")[2],
            shard=UNSCATTERED if shard is None else shard,
            attempt=attempt or 1,
        ),
        # What Cromwell writes together with retryableFailure (CallMetadataHelper.scala).
        execution_status=_text(entry.get("executionStatus"))
        or ("RetryableFailure" if entry.get("retryableFailure") is True else "Failed"),
        return_code=_whole(entry.get("returnCode")),
        job_id=_text(entry.get("jobId")),
        messages=_messages(entry.get("failures")),
        stdout=_text(entry.get("stdout")),
        stderr=_text(entry.get("stderr")),
    )


def _messages(failures: Json) -> tuple[str, ...]:
    """Flatten ``[{message, causedBy: [...]}]``, outermost first, each message once."""
    messages: dict[str, None] = {}
    waiting: list[Json] = [failures]
    while waiting and len(messages) < _MOST_MESSAGES:
        match waiting.pop():
            case str(message):
                messages[message[:_LONGEST_TEXT]] = None
            case list(several):
                waiting.extend(reversed(several))
            case dict(failure):
                waiting += [failure.get("causedBy"), failure.get("message")]
    return tuple(messages)


def _status_of(told: Mapping[str, Json]) -> str:
    status = _text(told.get("status"))
    if not status:
        raise CromwellAway("Cromwell's answer tells no status.")
    return status


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _whole(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_mapping(value: Json) -> bool:
    return isinstance(value, dict)
