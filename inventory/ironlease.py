#!/usr/bin/env python3
"""Dynamic inventory for plain Ansible: `ansible -i inventory/ironlease.py all --list-hosts`.

Asks the API as rackctl does (IRONLEASE_URL, IRONLEASE_TOKEN or `rackctl login`).
"""

import os
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PYTHON = CHECKOUT / ".venv" / "bin" / "python"

if PYTHON.exists() and Path(sys.prefix) != PYTHON.parent.parent:
    # Ansible starts this with whichever Python comes first; the libraries are in the checkout's.
    os.execv(PYTHON, [str(PYTHON), __file__, *sys.argv[1:]])  # noqa: S606

from provisioner.rackctl.ansible_inventory import main  # noqa: E402

sys.exit(main())
