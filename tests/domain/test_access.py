"""Who may do what: one table from role to permissions, asked by every use case."""

import pytest

from provisioner.domain.access import PERMISSIONS, Actor, Permission, Role, least_role
from provisioner.domain.refusals import Refusal, RefusalKind
from provisioner.rackctl.commands.accounts import Role as RackctlRole


def test_every_role_may_do_all_that_the_one_below_may() -> None:
    customer, operator, admin = (PERMISSIONS[role] for role in Role)
    assert customer < operator < admin == set(Permission)


@pytest.mark.parametrize("permission", Permission)
def test_the_least_role_of_a_permission_has_it_and_no_lower_one_has(permission: Permission) -> None:
    roles = list(Role)
    least = roles.index(least_role(permission))
    assert [permission in PERMISSIONS[role] for role in roles] == [
        position >= least for position in range(len(roles))
    ]


def test_an_account_acts_with_its_roles_permissions_for_itself() -> None:
    actor = Actor.account("acc_1", Role.CUSTOMER)
    assert (actor.name, actor.may(Permission.RENT), actor.may(Permission.OPERATE)) == (
        "account:acc_1",
        True,
        False,
    )
    assert actor.may_see("acc_1")
    assert not actor.may_see("acc_2")
    assert Actor.account("acc_3", Role.OPERATOR).may_see("acc_2")


def test_a_tenants_agent_acts_for_its_customer_alone() -> None:
    agent = Actor.tenant_agent("srv_1", "acc_1")
    assert agent.name == "agent:srv_1"
    assert agent.may_see("acc_1")
    assert not agent.may_see("acc_2")
    assert not agent.may(Permission.OPERATE)


def test_the_agent_of_a_ramdisk_may_do_nothing() -> None:
    assert not any(Actor.ramdisk_agent("srv_1").may(permission) for permission in Permission)


def test_a_missing_permission_is_refused_with_the_role_that_has_it() -> None:
    with pytest.raises(Refusal) as refused:
        Actor.account("acc_1", Role.OPERATOR).require(Permission.MANAGE_STAFF)
    assert (refused.value.kind, refused.value.code) == (RefusalKind.FORBIDDEN, "forbidden")
    assert "admin" in refused.value.reason
    assert "operator" in refused.value.reason


def test_rackctl_offers_the_roles_that_there_are() -> None:
    assert {role.value for role in RackctlRole} == {role.value for role in Role}
