"""Which servers need an operator, why, and what to do."""

from hypothesis import given
from hypothesis import strategies as st

from provisioner.domain.attention import Attention, Report, Standing, attention
from provisioner.domain.health.levels import HealthLevel
from provisioner.domain.incidents import IncidentKind
from provisioner.domain.lifecycle import State

LOST = Report(IncidentKind.HEALTH, "GPU 3 is lost", "rackctl reservation swap res_1")
SILENT = Report(IncidentKind.SILENT, "the agent is silent", "check the serial console")


def test_a_server_at_work_needs_nobody() -> None:
    assert attention(Standing(State.SANITISING, reason="wiping")) is None
    assert attention(Standing(State.MAINTENANCE)) is None


def test_a_step_that_is_retried_by_itself_needs_nobody() -> None:
    retried = Standing(State.SANITISING, "the BMC does not answer", "it is tried again by itself")
    assert attention(retried) is None


def test_a_servers_own_reason_comes_first() -> None:
    server = Standing(State.QUARANTINED, "a disk is broken", "replace it", incidents=[SILENT])
    assert attention(server) == Attention("a disk is broken", "replace it")


def test_a_leased_server_with_a_fault_says_which_and_what_to_do() -> None:
    leased = Standing(State.LEASED, incidents=[LOST], level=HealthLevel.FAULTY)
    assert attention(leased) == Attention(LOST.reason, LOST.next_action)


def test_of_several_incidents_the_most_telling_one_explains_it() -> None:
    for incidents in ([SILENT, LOST], [LOST, SILENT]):
        assert attention(Standing(State.LEASED, incidents=incidents)) == Attention(
            LOST.reason, LOST.next_action
        )


def test_a_faulty_server_without_an_incident_is_explained_by_its_health() -> None:
    for state, said in ((State.AVAILABLE, "circuit breaker"), (State.LEASED, "lease ends")):
        server = Standing(state, level=HealthLevel.FAULTY, summary="GPU 3 is lost")
        found = attention(server)
        assert found is not None
        assert found.reason == "GPU 3 is lost"
        assert said in found.next_action


reports = st.builds(
    Report,
    st.sampled_from(IncidentKind),
    st.text(min_size=1, max_size=20),
    st.text(min_size=1, max_size=20),
)


@given(
    st.builds(
        Standing,
        state=st.sampled_from(State),
        incidents=st.lists(reports, max_size=3),
        level=st.none() | st.sampled_from(HealthLevel),
        summary=st.text(min_size=1, max_size=20),
    )
)
def test_whatever_is_reported_has_a_reason_and_a_next_action(server: Standing) -> None:
    found = attention(server)

    if server.incidents:
        assert found is not None
        assert found.reason
        assert found.next_action
