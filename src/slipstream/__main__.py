"""The command ``slipstream``, and ``python -m slipstream`` where it is not on the path."""

import signal
import sys

# Until `main` can tell of Ctrl-C, it ends the process as it ends any other, without a traceback:
# what is imported takes a while. Who was started with it ignored goes on so.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from slipstream.cli import main

if __name__ == "__main__":
    sys.exit(main())
