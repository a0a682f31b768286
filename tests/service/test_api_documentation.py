"""docs/api.md names every endpoint with its role, and no other."""

import re
from pathlib import Path

from provisioner.domain.access import least_role
from provisioner.service.api.endpoints import ENDPOINTS

_PAGE = Path(__file__).parents[2] / "docs" / "api.md"


def test_the_page_lists_every_endpoint_with_its_role():
    listed = re.findall(r"^\| `(\w+) (/v1\S+)` \| (\w+) \| (.+) \|$", _PAGE.read_text(), re.M)
    served = [
        (e.method, e.full_path, least_role(e.permission).value, e.summary.splitlines()[0])
        for e in ENDPOINTS
    ]
    assert listed == served
