"""``python -m slipstream``: the command, where no ``slipstream`` is on the path."""

import sys

from slipstream.cli import main

if __name__ == "__main__":
    sys.exit(main())
