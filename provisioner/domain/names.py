"""Checks host names, MAC and IPv4 addresses and normalises them."""

import re
from ipaddress import AddressValueError, IPv4Address

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LOGIN = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
_PATH = re.compile(r"(/[A-Za-z0-9._+:@~-]+)+")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


def hostname(text: str) -> str:
    """Return a host name of one or more labels (RFC 1123 section 2.1) in lower case.

    Raises ValueError.
    """
    name = text.strip().lower()
    labels = name.split(".")
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(
            "a host name has letters, digits and hyphens, up to 63 between dots, "
            "and no hyphen at either end of a part"
        )
    if labels[-1].isdigit():
        raise ValueError("the last part of a host name must not be a number")
    return name


def server_name(text: str) -> str:
    """Return a server's name, which is a host name of one label. Raises ValueError."""
    if "." in text:
        raise ValueError("a server's name has no dots")
    return hostname(text)


def login_name(text: str) -> str:
    """Return a POSIX login name. Raises ValueError."""
    if not _LOGIN.fullmatch(text):
        raise ValueError(
            "a login name has lower-case letters, digits, hyphens and underscores, at most 32, "
            "and begins with a letter or an underscore"
        )
    return text


def system_path(text: str) -> str:
    """Return the path of a file inside an image. Raises ValueError."""
    if not _PATH.fullmatch(text) or {".", ".."} & set(text.split("/")):
        raise ValueError(
            "a path is absolute, as in /boot/vmlinuz-6.1.0: letters, digits and . _ + : @ ~ -"
        )
    return text


def machine_address(text: str) -> str:
    """Return the IPv4 address of one machine: DHCPv4 gives it to a server. Raises ValueError."""
    try:
        address = IPv4Address(text)
    except AddressValueError:
        address = None
    if address is None or address.is_multicast or address.is_unspecified or address.is_reserved:
        raise ValueError("a server's address is the IPv4 address of one machine, as in 192.0.2.4")
    return str(address)


def mac(text: str) -> str:
    """Return a station's MAC address as `52:54:00:77:00:01`. Raises ValueError."""
    address = text.strip().lower().replace("-", ":")
    if not _MAC.fullmatch(address):
        raise ValueError(
            "a MAC address is six pairs of hexadecimal digits, as in 52:54:00:77:00:01"
        )
    if int(address[:2], 16) & 1 or address == "00:00:00:00:00:00":
        raise ValueError("this is not the MAC address of one network card (group or empty address)")
    return address
