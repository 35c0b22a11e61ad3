"""`python -m lossmith`."""

import sys

from lossmith.cli import main

sys.exit(main())
