"""rackctl account: accounts and tokens; secrets are shown only where requested."""

import json

from rackctl_fleet import CUSTOMER
from rackctl_service import Rackctl


def test_an_account_is_made_and_listed(rackctl: Rackctl) -> None:
    made = rackctl(
        *("account", "create", "--name", "Bob", "--email", "bob@example.com"),
        *("--role", "operator", "--password-stdin"),
        stdin="correct horse battery\n",
    )

    assert made.code == 0, made.err
    assert "bob@example.com" in rackctl("account", "list").out
    assert "correct horse" not in made.out + made.err


def test_a_second_account_of_an_address_is_refused(rackctl: Rackctl) -> None:
    ran = rackctl("account", "create", "--name", "Ada", "--email", CUSTOMER)

    assert ran.code == 1
    assert "/email: belongs to another account" in ran.err


def test_a_token_is_printed_alone_and_works(rackctl: Rackctl) -> None:
    ran = rackctl("account", "token", CUSTOMER, "--name", "laptop", "--expires-in", "30d")

    [token] = ran.out.split()
    assert json.loads(rackctl("--token", token, "whoami", "-o", "json").out)["email"] == CUSTOMER
    assert token not in rackctl("audit").out


def test_a_disabled_account_is_out_at_once(rackctl: Rackctl) -> None:
    token = rackctl("account", "token", CUSTOMER, "--name", "laptop").out.strip()

    assert rackctl("account", "disable", CUSTOMER).code == 2
    assert rackctl("account", "disable", CUSTOMER, typed=CUSTOMER).code == 0
    assert rackctl("--token", token, "whoami").code == 1


def test_an_unknown_account_is_named(rackctl: Rackctl) -> None:
    ran = rackctl("account", "disable", "nobody@example.com")

    assert ran.code == 1
    assert "there is no account 'nobody@example.com'" in ran.err


def test_an_accounts_quota_is_shown_and_set(rackctl: Rackctl) -> None:
    assert "16" in rackctl("account", "quota", CUSTOMER).out
    changed = rackctl("account", "quota", CUSTOMER, "--servers", "3", "--duration", "30d")
    assert changed.code == 0, changed.err
    assert all(part in changed.out for part in ("3", "30d", "own"))
    back = rackctl("account", "quota", CUSTOMER, "--servers", "default", "--duration", "default")
    assert all(part in back.out for part in ("16", "90d", "the site's"))
    for wrong in ("٣", "-1", "many"):
        assert rackctl("account", "quota", CUSTOMER, "--servers", wrong).code == 2
