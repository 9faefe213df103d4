"""`python -m shm_protocol`: the same as the command `shm-polyglot`."""

import sys

from .cli.command_line import main

if __name__ == "__main__":
    sys.exit(main())
