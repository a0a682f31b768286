"""Every code of a problem is given by hand, documented, and comes with the status it says."""

import importlib
import pkgutil

import pytest
from problem_sites import problem_sites

import provisioner
from provisioner.domain.failures import Failure
from provisioner.service.api.endpoints import ENDPOINTS
from provisioner.service.api.openapi import problems_of
from provisioner.service.http.problem_codes import CODES, STATUSES

_BY_AIOHTTP = {"not_found", "method_not_allowed"}
"""Codes of what the router itself answers."""


def every(kind: type[Failure]) -> set[type[Failure]]:
    return {kind}.union(*(every(each) for each in kind.__subclasses__()))


@pytest.fixture(scope="module")
def failures() -> list[type[Failure]]:
    for module in pkgutil.walk_packages(provisioner.__path__, "provisioner."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)
    found = [each for each in every(Failure) if each.__module__.startswith("provisioner.")]
    return sorted(found, key=lambda each: each.__name__)


def test_every_failure_has_a_code_of_its_own(failures):
    assert [each.__name__ for each in failures if "code" not in vars(each)] == []
    codes = [each.code for each in failures]
    assert sorted(set(codes)) == sorted(codes)


def test_every_failure_is_documented(failures):
    assert {each.code for each in failures if 502 not in CODES[each.code].statuses} == set()


def test_every_refusal_and_http_error_is_documented_with_its_status():
    sites = problem_sites()
    assert len(sites) > 50
    unknown = {(c, s) for c, s in sites if c not in CODES or s not in CODES[c].statuses}
    assert unknown == set()


def test_every_documented_code_is_used(failures):
    used = {code for code, _ in problem_sites()} | {each.code for each in failures}
    assert CODES.keys() - used <= _BY_AIOHTTP


def test_every_code_has_a_meaning_that_ends_with_a_full_stop():
    for text in [*(code.meaning for code in CODES.values()), *STATUSES.values()]:
        assert text[0].isupper()
        assert text.endswith(".")


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: each.operation_id)
def test_an_operation_lists_codes_under_a_status_that_they_come_with(endpoint):
    listed = [(c, s) for s, codes in problems_of(endpoint).items() for c in codes]
    assert [(c, s) for c, s in listed if s not in CODES[c].statuses] == []
