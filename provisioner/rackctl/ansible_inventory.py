"""Ansible's dynamic inventory from the API: hosts, their variables and groups.

For plain `ansible -i inventory/ironlease.py`; the provisioner's own runs do not use it.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterable, Sequence

from provisioner.rackctl.client import Api, JsonObject, path
from provisioner.rackctl.config import DEFAULT_URL, token_for
from provisioner.rackctl.errors import ExitCode, RackctlError

_NOT_IN_A_GROUP_NAME = re.compile(r"\W")
_GROUPED_BY = ("site", "rack", "class", "state")


def inventory(servers: Iterable[JsonObject]) -> JsonObject:
    """Ansible's `--list` answer: groups `site_…`, `rack_…`, `class_…`, `state_…`, and `leased`.

    `leased` holds the servers that a customer is using: leave them alone (`--limit '!leased'`).
    """
    groups: dict[str, list[str]] = {"ironlease": [], "leased": []}
    variables: dict[str, JsonObject] = {}
    for server in servers:
        name = server["name"]
        variables[name] = _host_variables(server)
        groups["ironlease"].append(name)
        if server["lease"]:
            groups["leased"].append(name)
        for what in _GROUPED_BY:
            group = _NOT_IN_A_GROUP_NAME.sub("_", f"{what}_{server[what]}")
            groups.setdefault(group, []).append(name)
    return {
        **{group: {"hosts": hosts} for group, hosts in groups.items()},
        "_meta": {"hostvars": variables},
    }


def _host_variables(server: JsonObject) -> JsonObject:
    return {
        "ansible_host": server["address"],
        "ironlease_id": server["id"],
        "ironlease_site": server["site"],
        "ironlease_rack": server["rack"],
        "ironlease_class": server["class"],
        "ironlease_state": server["state"],
        "ironlease_serial": server["serial"],
        "ironlease_boot_mac": server["boot_mac"],
        "ironlease_bmc_address": server["bmc"]["address"],
        "ironlease_leased": server["lease"] is not None,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer `--list` or `--host NAME` on stdout. Returns an exit code like rackctl's."""
    parser = argparse.ArgumentParser(
        description="Dynamic Ansible inventory of an Ironlease provisioner."
    )
    question = parser.add_mutually_exclusive_group(required=True)
    question.add_argument("--list", action="store_true", help="Print all servers and groups.")
    question.add_argument("--host", metavar="NAME", help="Print the variables of one server.")
    given = parser.parse_args(arguments)
    try:
        with _connect() as api:
            if given.host:
                answer = _host_variables(api.get(path("servers", given.host)))
            else:
                answer = inventory(api.items(path("servers")))
    except RackctlError as error:
        sys.stderr.write(f"ironlease inventory: {error.reason}\n{error.next_action}\n")
        return error.exit_code
    sys.stdout.write(json.dumps(answer, indent=2) + "\n")
    return ExitCode.OK


def _connect() -> Api:
    """With IRONLEASE_URL and IRONLEASE_TOKEN, or the token that `rackctl login` saved."""
    token = token_for(os.environ.get("IRONLEASE_TOKEN", ""))
    return Api(os.environ.get("IRONLEASE_URL") or DEFAULT_URL, token)
