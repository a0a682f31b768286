"""The private parts of libraries that the drivers override or read, by name.

An upgrade that drops one fails here and says which, before a BMC or a server finds out. The upper
bounds in setup.cfg keep such upgrades away until somebody has looked: docs/decisions/pyghmi.md and
docs/decisions/paramiko.md.
"""

import ast
import inspect
import textwrap
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import pytest
from paramiko import Channel, Transport
from paramiko.auth_handler import AuthHandler
from pyghmi.ipmi import events
from pyghmi.ipmi.command import Command
from pyghmi.ipmi.private import constants, session, util

PYGHMI_SESSION = (
    *("_initsession", "_req_priv_level", "_mark_broken", "raw_command", "wait_for_rsp"),
    *("privlevel", "localsid", "rmcptag", "maxtimeout", "logontries", "logoutexpiry"),
    *("logged", "logging", "broken", "incommand", "onlogon", "keepalive_sessions"),
    *("userid", "password"),  # vendors' decoders read them from a Command's session
)
PYGHMI_SESSION_MODULE = (
    *("iothread", "iothreadready", "iosockets", "_io_wait", "_io_graball"),
    *("_monotonic_time", "MAX_IDLE"),
)
PYGHMI_COMMAND = (
    *("bmc", "certverify", "kwargs", "ipmi_session", "raw_command"),
    *("_sdr", "_sdrcachedir", "_oem", "_oemknown", "_netchannel", "_ipv6support"),
    *("get_sensor_data", "get_inventory", "get_event_log"),
    *("init_sdr", "oem_init"),
)
PYGHMI_EVENTS = ("EventHandler", "_fix_sel_time")
PYGHMI_EVENT_HANDLER = ("_sel_decode",)
PARAMIKO_AUTH_HANDLER = (
    *("_request_auth", "_client_handler_table"),
    *("_parse_service_accept", "_parse_userauth_failure"),
    *("transport", "auth_event", "auth_method"),
)
PARAMIKO_TRANSPORT = (
    *("_send_message", "lock", "auth_handler"),
    *("auth_timeout", "banner_timeout", "handshake_timeout"),
)
PARAMIKO_CHANNEL = ("status_event", "exit_status", "eof_received")


def attributes(owner: type | ModuleType) -> set[str]:
    """What a module or a class has, and what a class's methods set on `self`."""
    names = set(dir(owner))
    if isinstance(owner, ModuleType):
        return names
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(owner)))):
        if (
            isinstance(node, ast.Attribute)
            and isinstance(node.ctx, ast.Store)
            and isinstance(node.value, ast.Name)
            and node.value.id == "self"
        ):
            names.add(node.attr)
    return names


@pytest.mark.parametrize(
    ("owner", "used"),
    [
        pytest.param(session.Session, PYGHMI_SESSION, id="pyghmi's Session"),
        pytest.param(session, PYGHMI_SESSION_MODULE, id="pyghmi's session module"),
        pytest.param(Command, PYGHMI_COMMAND, id="pyghmi's Command"),
        pytest.param(events, PYGHMI_EVENTS, id="pyghmi's events"),
        pytest.param(events.EventHandler, PYGHMI_EVENT_HANDLER, id="pyghmi's EventHandler"),
        pytest.param(constants, ("rmcp_codes",), id="pyghmi's constants"),
        pytest.param(util, ("get_ipmi_error",), id="pyghmi's util"),
        pytest.param(AuthHandler, PARAMIKO_AUTH_HANDLER, id="paramiko's AuthHandler"),
        pytest.param(Transport, PARAMIKO_TRANSPORT, id="paramiko's Transport"),
        pytest.param(Channel, PARAMIKO_CHANNEL, id="paramiko's Channel"),
    ],
)
def test_a_library_has_the_private_parts_that_we_use(
    owner: type | ModuleType, used: Iterable[str]
) -> None:
    missing = sorted(set(used) - attributes(owner))
    assert missing == [], f"{owner.__name__} no longer has these: adapt the driver that uses them"


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (session.Session.raw_command, {"netfn", "command", "data", "retry", "rslun", "callback"}),
        (session.Session._mark_broken, {"error"}),
        (session._io_wait, {"timeout", "myaddr", "evq"}),
        (session._io_graball, {"mysockets", "iowaiters"}),
        (Command.raw_command, {"bridge_request", "data", "delay_xmit", "retry", "rslun"}),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_a_private_function_takes_the_parameters_that_we_pass(
    function: Any, parameters: set[str]
) -> None:
    assert parameters - set(inspect.signature(function).parameters) == set()
