"""What a WDL engine says of a bundle: its syntax, its types, its imports and its inputs.

An adapter over miniwdl's parser and type checker. The engine is stricter than
Cromwell in places, and a drop that Cromwell would run is never refused: what
the grammar rejects, an import that is not there and a name that means nothing
are errors, everything else the engine holds against a WDL is a warning.
Importing this module does not load the engine.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from dropwell.preflight import Checked
from dropwell.wdl.inputs import Inputs
from dropwell.wdl.reading import Reading

if TYPE_CHECKING:
    from dropwell.bundles import Bundle


def check(bundle: Bundle, *, import_hosts: Collection[str] = ()) -> Checked:
    """Parse and type-check a bundle's WDL, and hold its inputs against it.

    Parameters
    ----------
    bundle : Bundle
        As `bundles.open_bundle` returns it.
    import_hosts : collection of str
        Hosts that imports may come from over https. They are not fetched here,
        so what imports from them is not type-checked.

    Raises
    ------
    BadBundle
        Reading the bundle's files exceeded a limit.
    """
    reading = Reading(bundle, import_hosts)
    main = reading.read(bundle.main, ())
    if main is None or main.document is None:
        if main is not None:
            reading.own_up_to_gaps(main)
        return reading.checked(version=main.version if main else "")
    inputs = Inputs(bundle, main)
    inputs.check()
    reading.own_up_to_gaps(main)
    return reading.checked(version=main.version, inputs=inputs)
