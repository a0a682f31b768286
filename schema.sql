-- Ironlease's schema, for PostgreSQL 15 and SQLite. Made by `make schema` from the tables in
-- provisioner/store/tables; tests hold it equal to what the models and the migrations create.

CREATE TABLE account (
    id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    email VARCHAR NOT NULL,
    role VARCHAR(40) NOT NULL,
    password_hash VARCHAR NOT NULL,
    max_servers INTEGER,
    max_duration_s INTEGER,
    password_is_temporary BOOLEAN DEFAULT false NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    disabled_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (email)
);

CREATE TABLE audit_event (
    id VARCHAR NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    actor VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    detail JSON NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX ix_audit_event_at ON audit_event (at);

CREATE INDEX ix_audit_event_subject ON audit_event (subject);

CREATE TABLE host_clock (
    boot_id VARCHAR NOT NULL,
    host VARCHAR NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    boottime_s FLOAT NOT NULL,
    beat_at TIMESTAMP WITH TIME ZONE NOT NULL,
    problem VARCHAR NOT NULL,
    accepted BOOLEAN DEFAULT false NOT NULL,
    PRIMARY KEY (boot_id)
);

CREATE TABLE image (
    id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    size_bytes BIGINT NOT NULL,
    boot JSON NOT NULL,
    imported_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (name)
);

CREATE TABLE server_class (
    name VARCHAR NOT NULL,
    title VARCHAR NOT NULL,
    price_micro_per_hour BIGINT NOT NULL,
    currency VARCHAR NOT NULL,
    sanitisation_floor VARCHAR(40) NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (name)
);

CREATE TABLE api_token (
    id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    token_hash VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE,
    revoked_at TIMESTAMP WITH TIME ZONE,
    last_used_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(account_id) REFERENCES account (id),
    UNIQUE (token_hash)
);

CREATE INDEX ix_api_token_account_id ON api_token (account_id);

CREATE TABLE reservation (
    id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    class_name VARCHAR NOT NULL,
    image_id VARCHAR NOT NULL,
    starts_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    state VARCHAR(40) NOT NULL,
    hostname VARCHAR NOT NULL,
    authorized_keys JSON NOT NULL,
    user_data VARCHAR NOT NULL,
    idempotency_key VARCHAR,
    request_digest VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    released_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (account_id, idempotency_key),
    FOREIGN KEY(account_id) REFERENCES account (id),
    FOREIGN KEY(class_name) REFERENCES server_class (name),
    FOREIGN KEY(image_id) REFERENCES image (id)
);

CREATE INDEX ix_reservation_account_id ON reservation (account_id);

CREATE INDEX ix_reservation_class_name ON reservation (class_name);

CREATE INDEX ix_reservation_state ON reservation (state);

CREATE TABLE server (
    id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    site VARCHAR NOT NULL,
    rack VARCHAR NOT NULL,
    class_name VARCHAR NOT NULL,
    serial VARCHAR NOT NULL,
    boot_mac VARCHAR NOT NULL,
    address VARCHAR NOT NULL,
    switch_port VARCHAR NOT NULL,
    bmc_protocol VARCHAR NOT NULL,
    bmc_address VARCHAR NOT NULL,
    bmc_port INTEGER NOT NULL,
    bmc_username VARCHAR NOT NULL,
    bmc_secret VARCHAR NOT NULL,
    bmc_next_secret VARCHAR NOT NULL,
    bmc_enrolled_secret VARCHAR NOT NULL,
    bmc_lost_at TIMESTAMP WITH TIME ZONE,
    expect JSON NOT NULL,
    facts JSON NOT NULL,
    state VARCHAR(40) NOT NULL,
    state_since TIMESTAMP WITH TIME ZONE NOT NULL,
    reason VARCHAR NOT NULL,
    next_action VARCHAR NOT NULL,
    last_used_at TIMESTAMP WITH TIME ZONE NOT NULL,
    enrolled_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    attention INTEGER NOT NULL,
    claim_owner VARCHAR NOT NULL,
    claim_token VARCHAR NOT NULL,
    claim_expires_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    UNIQUE (bmc_address, bmc_port),
    UNIQUE (name),
    FOREIGN KEY(class_name) REFERENCES server_class (name),
    UNIQUE (serial),
    UNIQUE (boot_mac),
    UNIQUE (address)
);

CREATE INDEX ix_server_class_name ON server (class_name);

CREATE INDEX ix_server_due_at ON server (due_at);

CREATE INDEX ix_server_site ON server (site);

CREATE INDEX ix_server_state ON server (state);

CREATE TABLE ssh_key (
    id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    public_key VARCHAR NOT NULL,
    fingerprint VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (account_id, fingerprint),
    FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX ix_ssh_key_account_id ON ssh_key (account_id);

CREATE TABLE web_session (
    id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX ix_web_session_account_id ON web_session (account_id);

CREATE TABLE webhook (
    account_id VARCHAR NOT NULL,
    url VARCHAR NOT NULL,
    secret_sealed VARCHAR NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (account_id),
    FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE TABLE webhook_message (
    id VARCHAR NOT NULL,
    account_id VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    event VARCHAR NOT NULL,
    body JSON NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE,
    attempts INTEGER NOT NULL,
    delivered_at TIMESTAMP WITH TIME ZONE,
    error VARCHAR NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (account_id, subject, event),
    FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX ix_webhook_message_account_id ON webhook_message (account_id);

CREATE INDEX ix_webhook_message_due_at ON webhook_message (due_at);

CREATE TABLE bmc_reading (
    server_id VARCHAR NOT NULL,
    due_at TIMESTAMP WITH TIME ZONE NOT NULL,
    read_at TIMESTAMP WITH TIME ZONE,
    log JSON,
    sensors JSON NOT NULL,
    error VARCHAR NOT NULL,
    PRIMARY KEY (server_id),
    FOREIGN KEY(server_id) REFERENCES server (id)
);

CREATE INDEX ix_bmc_reading_due_at ON bmc_reading (due_at);

CREATE TABLE disk (
    id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    serial VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    firmware VARCHAR NOT NULL,
    transport VARCHAR NOT NULL,
    size_bytes BIGINT NOT NULL,
    capabilities JSON NOT NULL,
    present BOOLEAN NOT NULL,
    seen_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (server_id, serial),
    FOREIGN KEY(server_id) REFERENCES server (id)
);

CREATE INDEX ix_disk_server_id ON disk (server_id);

CREATE TABLE extension (
    id VARCHAR NOT NULL,
    reservation_id VARCHAR NOT NULL,
    from_end TIMESTAMP WITH TIME ZONE NOT NULL,
    to_end TIMESTAMP WITH TIME ZONE NOT NULL,
    idempotency_key VARCHAR,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (reservation_id, idempotency_key),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id)
);

CREATE INDEX ix_extension_reservation_id ON extension (reservation_id);

CREATE TABLE health_finding (
    id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    boot_id VARCHAR NOT NULL,
    rule VARCHAR NOT NULL,
    part VARCHAR NOT NULL,
    level VARCHAR(40) NOT NULL,
    action VARCHAR(40) NOT NULL,
    summary VARCHAR NOT NULL,
    source VARCHAR NOT NULL,
    since TIMESTAMP WITH TIME ZONE NOT NULL,
    seen TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (server_id, boot_id, rule, part),
    FOREIGN KEY(server_id) REFERENCES server (id)
);

CREATE INDEX ix_health_finding_since ON health_finding (since);

CREATE TABLE health_sample (
    server_id VARCHAR NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    gpus JSON NOT NULL,
    PRIMARY KEY (server_id, at),
    FOREIGN KEY(server_id) REFERENCES server (id)
);

CREATE TABLE lease (
    id VARCHAR NOT NULL,
    reservation_id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    bound_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    sequence INTEGER NOT NULL,
    granted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    changed_in BIGINT,
    certificates JSON NOT NULL,
    host_key VARCHAR NOT NULL,
    host_key_secret VARCHAR NOT NULL,
    agent_token_secret VARCHAR NOT NULL,
    ready_at TIMESTAMP WITH TIME ZONE,
    stopped_at TIMESTAMP WITH TIME ZONE,
    started_at TIMESTAMP WITH TIME ZONE,
    locked_at TIMESTAMP WITH TIME ZONE,
    unverified_fault_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    end_reason VARCHAR(40),
    PRIMARY KEY (id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id),
    FOREIGN KEY(server_id) REFERENCES server (id)
);

CREATE INDEX ix_lease_changed ON lease (changed_in) WHERE changed_in IS NOT NULL;

CREATE INDEX ix_lease_open_ends_at ON lease (ends_at) WHERE ended_at IS NULL;

CREATE INDEX ix_lease_reservation_id ON lease (reservation_id);

CREATE INDEX ix_lease_server_id ON lease (server_id);

CREATE UNIQUE INDEX uq_lease_open ON lease (server_id) WHERE ended_at IS NULL;

CREATE TABLE server_health (
    server_id VARCHAR NOT NULL,
    level VARCHAR(40) NOT NULL,
    action VARCHAR(40) NOT NULL,
    summary VARCHAR NOT NULL,
    level_since TIMESTAMP WITH TIME ZONE NOT NULL,
    judged_at TIMESTAMP WITH TIME ZONE NOT NULL,
    verdict JSON NOT NULL,
    PRIMARY KEY (server_id),
    FOREIGN KEY(server_id) REFERENCES server (id)
);

CREATE INDEX ix_server_health_level ON server_health (level);

CREATE TABLE outage (
    id VARCHAR NOT NULL,
    lease_id VARCHAR NOT NULL,
    began_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    reason VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(lease_id) REFERENCES lease (id)
);

CREATE INDEX ix_outage_lease_id ON outage (lease_id);

CREATE UNIQUE INDEX uq_outage_open ON outage (lease_id) WHERE ended_at IS NULL;

CREATE TABLE server_request (
    id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    lease_id VARCHAR,
    verb VARCHAR(40) NOT NULL,
    arguments JSON NOT NULL,
    actor VARCHAR NOT NULL,
    filed_at TIMESTAMP WITH TIME ZONE NOT NULL,
    taken_at TIMESTAMP WITH TIME ZONE,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome VARCHAR(40) NOT NULL,
    failure VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(server_id) REFERENCES server (id),
    FOREIGN KEY(lease_id) REFERENCES lease (id)
);

CREATE INDEX ix_server_request_lease_id ON server_request (lease_id);

CREATE INDEX ix_server_request_open ON server_request (server_id) WHERE ended_at IS NULL;

CREATE INDEX ix_server_request_server_id ON server_request (server_id);

CREATE TABLE operation (
    id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    lease_id VARCHAR,
    request_id VARCHAR,
    verb VARCHAR(40) NOT NULL,
    state VARCHAR(40) NOT NULL,
    step VARCHAR(40) NOT NULL,
    step_started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    attempt INTEGER NOT NULL,
    boots INTEGER NOT NULL,
    memo JSON NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(server_id) REFERENCES server (id),
    FOREIGN KEY(lease_id) REFERENCES lease (id),
    FOREIGN KEY(request_id) REFERENCES server_request (id)
);

CREATE INDEX ix_operation_server_id ON operation (server_id);

CREATE UNIQUE INDEX uq_operation_running ON operation (server_id) WHERE ended_at IS NULL;

CREATE TABLE boot (
    id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    operation_id VARCHAR NOT NULL,
    token_secret VARCHAR NOT NULL,
    token_hash VARCHAR NOT NULL,
    host_key VARCHAR NOT NULL,
    host_key_secret VARCHAR NOT NULL,
    agent_token_secret VARCHAR NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    expires_at TIMESTAMP WITH TIME ZONE NOT NULL,
    asked_at TIMESTAMP WITH TIME ZONE,
    identified_at TIMESTAMP WITH TIME ZONE,
    nonce_hash VARCHAR DEFAULT '' NOT NULL,
    ready_at TIMESTAMP WITH TIME ZONE,
    closed_at TIMESTAMP WITH TIME ZONE,
    PRIMARY KEY (id),
    FOREIGN KEY(server_id) REFERENCES server (id),
    FOREIGN KEY(operation_id) REFERENCES operation (id),
    UNIQUE (token_hash)
);

CREATE INDEX ix_boot_server_id ON boot (server_id);

CREATE TABLE erasure_certificate (
    id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    operation_id VARCHAR NOT NULL,
    disk_serial VARCHAR NOT NULL,
    method VARCHAR NOT NULL,
    level VARCHAR(40) NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    finished_at TIMESTAMP WITH TIME ZONE NOT NULL,
    evidence JSON NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(server_id) REFERENCES server (id),
    FOREIGN KEY(operation_id) REFERENCES operation (id)
);

CREATE INDEX ix_erasure_certificate_disk ON erasure_certificate (server_id, disk_serial);

CREATE INDEX ix_erasure_certificate_operation_id ON erasure_certificate (operation_id);

CREATE TABLE incident (
    id VARCHAR NOT NULL,
    server_id VARCHAR,
    reservation_id VARCHAR,
    operation_id VARCHAR,
    lease_id VARCHAR,
    kind VARCHAR(40) NOT NULL,
    reason VARCHAR NOT NULL,
    next_action VARCHAR NOT NULL,
    opened_at TIMESTAMP WITH TIME ZONE NOT NULL,
    closed_at TIMESTAMP WITH TIME ZONE,
    acknowledged_at TIMESTAMP WITH TIME ZONE,
    acknowledged_by VARCHAR,
    assignee_id VARCHAR,
    PRIMARY KEY (id),
    FOREIGN KEY(server_id) REFERENCES server (id),
    FOREIGN KEY(reservation_id) REFERENCES reservation (id),
    FOREIGN KEY(operation_id) REFERENCES operation (id),
    FOREIGN KEY(lease_id) REFERENCES lease (id),
    FOREIGN KEY(acknowledged_by) REFERENCES account (id),
    FOREIGN KEY(assignee_id) REFERENCES account (id)
);

CREATE INDEX ix_incident_lease_id ON incident (lease_id);

CREATE INDEX ix_incident_reservation_id ON incident (reservation_id);

CREATE INDEX ix_incident_server_id ON incident (server_id);

CREATE UNIQUE INDEX uq_incident_open ON incident (server_id, kind) WHERE closed_at IS NULL;

CREATE UNIQUE INDEX uq_incident_open_fleet ON incident (kind) WHERE closed_at IS NULL AND server_id IS NULL AND reservation_id IS NULL;

CREATE UNIQUE INDEX uq_incident_open_reservation ON incident (reservation_id, kind) WHERE closed_at IS NULL;

CREATE TABLE step_log (
    id VARCHAR NOT NULL,
    operation_id VARCHAR NOT NULL,
    step VARCHAR(40) NOT NULL,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    text VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(operation_id) REFERENCES operation (id)
);

CREATE INDEX ix_step_log_operation_id ON step_log (operation_id);

CREATE TABLE step_record (
    id VARCHAR NOT NULL,
    operation_id VARCHAR NOT NULL,
    step VARCHAR(40) NOT NULL,
    started_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    outcome VARCHAR(40) NOT NULL,
    detail VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(operation_id) REFERENCES operation (id)
);

CREATE INDEX ix_step_record_operation_id ON step_record (operation_id);

CREATE TABLE agent_identity (
    id VARCHAR NOT NULL,
    server_id VARCHAR NOT NULL,
    lease_id VARCHAR,
    boot_id VARCHAR,
    token_hash VARCHAR NOT NULL,
    issued_at TIMESTAMP WITH TIME ZONE NOT NULL,
    revoked_at TIMESTAMP WITH TIME ZONE,
    changed_in BIGINT,
    seen_at TIMESTAMP WITH TIME ZONE,
    reported_at TIMESTAMP WITH TIME ZONE,
    report JSON NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(server_id) REFERENCES server (id),
    FOREIGN KEY(lease_id) REFERENCES lease (id),
    FOREIGN KEY(boot_id) REFERENCES boot (id),
    UNIQUE (token_hash)
);

CREATE INDEX ix_agent_identity_boot_id ON agent_identity (boot_id);

CREATE INDEX ix_agent_identity_changed ON agent_identity (changed_in) WHERE changed_in IS NOT NULL;

CREATE INDEX ix_agent_identity_lease_id ON agent_identity (lease_id);

CREATE INDEX ix_agent_identity_live ON agent_identity (reported_at) WHERE revoked_at IS NULL;

CREATE INDEX ix_agent_identity_server_id ON agent_identity (server_id);

CREATE TABLE incident_note (
    id VARCHAR NOT NULL,
    incident_id VARCHAR NOT NULL,
    account_id VARCHAR,
    at TIMESTAMP WITH TIME ZONE NOT NULL,
    text VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(incident_id) REFERENCES incident (id),
    FOREIGN KEY(account_id) REFERENCES account (id)
);

CREATE INDEX ix_incident_note_incident_id ON incident_note (incident_id);
