"""``python -m dropwell_local.cromwell``: the local Cromwell, until it is told to stop."""

import sys

from dropwell_local.cromwell.server import serve
from dropwell_local.cromwell.settings import parse

if __name__ == "__main__":
    serve(parse(sys.argv[1:]))
