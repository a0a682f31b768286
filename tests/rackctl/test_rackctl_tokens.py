"""rackctl token, password and account: credentials are ended one by one, and shown only once."""

import json

from rackctl_fleet import CUSTOMER
from rackctl_service import Rackctl


def issue(rackctl: Rackctl, name: str, *more: str) -> str:
    ran = rackctl("account", "token", CUSTOMER, "--name", name, *more)
    assert ran.code == 0, ran.err
    return ran.out.strip()


def test_tokens_are_listed_with_purpose_end_and_last_use(rackctl: Rackctl) -> None:
    token = issue(rackctl, "nightly")
    issue(rackctl, "endless", "--expires", "never")
    rackctl("--token", token, "whoami")

    listed = json.loads(rackctl("token", "list", "--account", CUSTOMER, "-o", "json").out)["items"]
    shown = rackctl("token", "list", "--account", CUSTOMER).out

    assert [each["name"] for each in listed] == ["nightly", "endless"]
    assert [each["expires_at"] is None for each in listed] == [False, True]
    assert [each["last_used_at"] is None for each in listed] == [False, True]
    assert "never" in shown
    assert token not in shown


def test_a_customer_revokes_an_own_token_by_name(rackctl: Rackctl) -> None:
    kept, leaked = issue(rackctl, "laptop"), issue(rackctl, "leaked")

    refused = rackctl("--token", kept, "token", "revoke", "leaked")
    wrong = rackctl("--token", kept, "token", "revoke", "leaked", typed="laptop")
    revoked = rackctl("--token", kept, "token", "revoke", "leaked", typed="leaked")

    assert (refused.code, wrong.code, revoked.code) == (2, 1, 0), revoked.err
    assert rackctl("--token", leaked, "whoami").code == 1
    assert rackctl("--token", kept, "whoami").code == 0


def test_an_administrator_revokes_anybodys(rackctl: Rackctl) -> None:
    leaked = issue(rackctl, "leaked")

    ran = rackctl("token", "revoke", "leaked", "--account", CUSTOMER, "--yes")

    assert ran.code == 0, ran.err
    assert rackctl("--token", leaked, "whoami").code == 1


def test_a_name_of_several_tokens_lists_them(rackctl: Rackctl) -> None:
    issue(rackctl, "ci")
    issue(rackctl, "ci")

    ran = rackctl("token", "revoke", "ci", "--account", CUSTOMER, "--yes")

    assert ran.code == 1
    assert ran.err.count("tok_") == 2


def test_an_own_password_is_changed_by_who_knows_it(rackctl: Rackctl) -> None:
    once = rackctl("account", "reset-password", CUSTOMER, "--yes").out.strip()
    token = issue(rackctl, "laptop")

    wrong = rackctl("--token", token, "password", "--stdin", stdin="guess\nnew password 12\n")
    right = rackctl("--token", token, "password", "--stdin", stdin=f"{once}\nnew password 12\n")

    assert wrong.code == 1
    assert "the current password is wrong" in wrong.err
    assert right.code == 0, right.err


def test_a_password_is_reset_only_when_confirmed_and_printed_alone(rackctl: Rackctl) -> None:
    assert rackctl("account", "reset-password", CUSTOMER).code == 2

    ran = rackctl("account", "reset-password", CUSTOMER, "--yes")

    [password] = ran.out.split()
    assert len(password) >= 16
    assert password not in rackctl("audit").out


def test_a_disabled_account_is_enabled_again(rackctl: Rackctl) -> None:
    token = issue(rackctl, "laptop")
    rackctl("account", "disable", CUSTOMER, "--yes")

    ran = rackctl("account", "enable", CUSTOMER)

    assert ran.code == 0, ran.err
    assert rackctl("--token", token, "whoami").code == 1, "its tokens stay revoked"
    assert rackctl("--token", issue(rackctl, "new"), "whoami").code == 0
