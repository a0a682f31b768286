"""Who may log in: accounts, their sessions, API tokens and SSH keys."""

from datetime import datetime

from sqlalchemy import Boolean, Column, UniqueConstraint, false
from sqlmodel import Field, SQLModel

from provisioner.domain.access import Role
from provisioner.store.columns import enum_text, new_id, utc_column, utc_now


class Account(SQLModel, table=True):
    """Someone who may log in; created by operators."""

    __tablename__ = "account"

    id: str = Field(default_factory=lambda: new_id("acc"), primary_key=True)
    name: str
    email: str = Field(unique=True)
    role: Role = Field(default=Role.CUSTOMER, sa_type=enum_text(Role))
    password_hash: str = ""
    """argon2id; empty if the account has tokens only."""
    max_servers: int | None = None
    """Servers it may reserve at the same time; None for the site's default."""
    max_duration_s: int | None = None
    """Longest reservation, with its extensions; None for the site's default."""
    password_is_temporary: bool = Field(
        default=False, sa_column=Column(Boolean, nullable=False, server_default=false())
    )
    """It serves for one login, in which a new one has to be chosen."""
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    disabled_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))


class WebSession(SQLModel, table=True):
    """One login with a password, until it expires or is ended."""

    __tablename__ = "web_session"

    id: str = Field(default_factory=lambda: new_id("ses"), primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    expires_at: datetime = Field(sa_column=utc_column())
    ended_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """By logging out, by a new password, or when the account was disabled."""


class ApiToken(SQLModel, table=True):
    """A bearer token, stored only as its SHA-256."""

    __tablename__ = "api_token"

    id: str = Field(default_factory=lambda: new_id("tok"), primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str
    token_hash: str = Field(unique=True)
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
    expires_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    revoked_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    last_used_at: datetime | None = Field(default=None, sa_column=utc_column(nullable=True))
    """To the hour: not every request writes it."""


class SshKey(SQLModel, table=True):
    """A customer's public key."""

    __tablename__ = "ssh_key"
    __table_args__ = (UniqueConstraint("account_id", "fingerprint"),)

    id: str = Field(default_factory=lambda: new_id("key"), primary_key=True)
    account_id: str = Field(foreign_key="account.id", index=True)
    name: str
    public_key: str
    fingerprint: str
    """`SHA256:…` as ssh-keygen -l prints it."""
    created_at: datetime = Field(default_factory=utc_now, sa_column=utc_column())
