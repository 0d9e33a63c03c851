"""What can go wrong, told apart by whether trying again can help.

::

    DropwellError
    ├── TryAgain              a retry may mend it: raise, and let the queue deliver once more
    │   ├── Superseded        somebody else wrote first: read again, decide again
    │   ├── CromwellAway      refused, timed out, 5xx, or an answer that is not Cromwell's
    │   │   └── NotLetIn      a token or a certificate is wrong: the operator has to act
    │   └── ProjectsUnreadable  the operator's file of projects is there, but not fit for use
    └── Final                 a retry will not: record it with its reason and go on
        ├── Refused           Cromwell read the submission and will not have it
        ├── UnclearRefusal    Cromwell said no, in words that may also mean "I have it already"
        ├── UnknownRun        Cromwell has no workflow of that id (or does not show it yet)
        ├── Missing           an object that was to be read is not there (any more)
        ├── TooLarge          an object holds more than the reader is willing to take
        ├── BadBundle         what was dropped cannot be run; carries the findings
        └── BadEvent          a message that is none of the shapes we were promised
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dropwell.preflight import Finding


class DropwellError(Exception):
    """Anything this application raises on purpose."""


class TryAgain(DropwellError):
    """A retry may mend it."""


class Superseded(TryAgain):
    """A condition of a write no longer held: nothing was written."""


class CromwellAway(TryAgain):
    """Cromwell did not answer as Cromwell does; whether it acted is unknown."""


class NotLetIn(CromwellAway):
    """Cromwell's door stayed shut, or what stands there is not to be trusted; it saw nothing."""


class ProjectsUnreadable(TryAgain):
    """The operator's file of projects cannot be read or is not sound: the operator has to act."""


class Final(DropwellError):
    """A retry will not mend it."""


class Refused(Final):
    """Cromwell read what was submitted and refused it; the text is Cromwell's."""


class UnclearRefusal(Final):
    """Cromwell refused with 400 in words that may also mean that it has the run already."""


class UnknownRun(Final):
    """Cromwell knows no workflow of that id, or does not show it yet."""


class Missing(Final):
    """There is no such object, or no such version of it."""


class TooLarge(Final):
    """An object holds more bytes than the reader is willing to take."""


class BadEvent(Final):
    """A message in none of the shapes we were promised."""


class BadBundle(Final):
    """A bundle that cannot be run.

    Parameters
    ----------
    *findings : Finding
        Everything that is wrong with it, as far as could be seen.
    """

    def __init__(self, *findings: Finding) -> None:
        super().__init__("; ".join(finding.message for finding in findings))
        self.findings = findings
