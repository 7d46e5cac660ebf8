-- The tables. Their words: docs/glossary.md.
-- Rules stand here as named constraints; controller/db/db_error.c turns their
-- names into sentences.

CREATE FUNCTION new_id(prefix text) RETURNS text LANGUAGE sql VOLATILE AS
$$ SELECT prefix || substr(replace(gen_random_uuid()::text, '-', ''), 1, 20) $$;

CREATE FUNCTION is_id(id text) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT id ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$' $$;

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;

CREATE TABLE organizations (
    id          text PRIMARY KEY DEFAULT new_id('org-') CONSTRAINT organization_id_format CHECK (is_id(id)),
    name        text NOT NULL CONSTRAINT organization_name_key UNIQUE,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE teams (
    id           text PRIMARY KEY DEFAULT new_id('t-') CONSTRAINT team_id_format CHECK (is_id(id)),
    name         text NOT NULL CONSTRAINT team_name_key UNIQUE,
    description  text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE owners (
    id          text PRIMARY KEY DEFAULT new_id('o-') CONSTRAINT owner_id_format CHECK (is_id(id)),
    name        text NOT NULL,
    email       text NOT NULL CONSTRAINT owner_email_format CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$'),
    team_id     text CONSTRAINT owner_team_fkey REFERENCES teams ON DELETE RESTRICT,
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now()
);

-- config holds nothing secret; secrets is the sealed JSON of the secret fields.
CREATE TABLE issuers (
    id              text PRIMARY KEY DEFAULT new_id('iss-') CONSTRAINT issuer_id_format CHECK (is_id(id)),
    name            text NOT NULL CONSTRAINT issuer_name_key UNIQUE,
    type            text NOT NULL,
    config          jsonb NOT NULL DEFAULT '{}' CONSTRAINT issuer_config_object CHECK (jsonb_typeof(config) = 'object'),
    secrets         text,
    enabled         boolean NOT NULL DEFAULT true,
    source          text NOT NULL DEFAULT 'api',
    last_tested_at  timestamptz,
    test_status     text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE certificate_profiles (
    id                      text PRIMARY KEY DEFAULT new_id('prof-') CONSTRAINT profile_id_format CHECK (is_id(id)),
    name                    text NOT NULL CONSTRAINT profile_name_key UNIQUE,
    description             text NOT NULL DEFAULT '',
    -- [{"algorithm": "ECDSA", "min_size": 256}, ...]
    allowed_key_algorithms  jsonb NOT NULL DEFAULT '[{"algorithm":"ECDSA","min_size":256},{"algorithm":"RSA","min_size":2048},{"algorithm":"Ed25519","min_size":0}]'
                            CONSTRAINT profile_algorithms_array CHECK (jsonb_typeof(allowed_key_algorithms) = 'array'),
    max_ttl_seconds         bigint NOT NULL DEFAULT 7776000 CONSTRAINT profile_max_ttl_range CHECK (max_ttl_seconds BETWEEN 60 AND 316224000),
    allowed_ekus            text[] NOT NULL DEFAULT '{serverAuth}',
    required_san_patterns   text[] NOT NULL DEFAULT '{}',
    allow_short_lived       boolean NOT NULL DEFAULT false,
    must_staple             boolean NOT NULL DEFAULT false,
    requires_approval       boolean NOT NULL DEFAULT false,
    enabled                 boolean NOT NULL DEFAULT true,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT profile_short_lived CHECK (NOT allow_short_lived OR max_ttl_seconds < 3600)
);

CREATE TABLE renewal_policies (
    id                       text PRIMARY KEY DEFAULT new_id('rp-') CONSTRAINT renewal_policy_id_format CHECK (is_id(id)),
    name                     text NOT NULL CONSTRAINT renewal_policy_name_key UNIQUE,
    -- the scope, which never changes; NULL and NULL is the account default or a policy that certificates name
    organization_id          text CONSTRAINT renewal_policy_organization_fkey REFERENCES organizations ON DELETE RESTRICT,
    is_default               boolean NOT NULL DEFAULT false,
    issuer_id                text CONSTRAINT renewal_policy_issuer_fkey REFERENCES issuers ON DELETE RESTRICT,
    certificate_profile_id   text CONSTRAINT renewal_policy_profile_fkey REFERENCES certificate_profiles ON DELETE RESTRICT,
    method                   text NOT NULL DEFAULT 'issuer' CONSTRAINT renewal_policy_method CHECK (method IN ('issuer', 'acme', 'ad_cs', 'manual', 'none')),
    auto_renew               boolean NOT NULL DEFAULT true,
    renewal_window_days      int NOT NULL DEFAULT 30 CONSTRAINT renewal_policy_window_range CHECK (renewal_window_days BETWEEN 1 AND 365),
    max_retries              int NOT NULL DEFAULT 3 CONSTRAINT renewal_policy_retries_range CHECK (max_retries BETWEEN 0 AND 10),
    retry_interval_seconds   int NOT NULL DEFAULT 3600 CONSTRAINT renewal_policy_interval_range CHECK (retry_interval_seconds BETWEEN 60 AND 86400),
    alert_thresholds_days    int[] NOT NULL DEFAULT '{30,14,7,0}',
    require_change_record    boolean NOT NULL DEFAULT false,
    rollback_on_failure      boolean NOT NULL DEFAULT false,
    max_concurrent_renewals  int NOT NULL DEFAULT 5 CONSTRAINT renewal_policy_concurrency_range CHECK (max_concurrent_renewals BETWEEN 1 AND 1000),
    is_active                boolean NOT NULL DEFAULT true,
    created_at               timestamptz NOT NULL DEFAULT now(),
    updated_at               timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT renewal_policy_auto_method CHECK (NOT auto_renew OR method NOT IN ('manual', 'none'))
);
CREATE UNIQUE INDEX renewal_policy_default_key ON renewal_policies (is_default) WHERE is_default;
CREATE UNIQUE INDEX renewal_policy_organization_key ON renewal_policies (organization_id) WHERE organization_id IS NOT NULL;

-- A host that runs the module.  fingerprint pins its control listener until the
-- fleet CA's certificate is installed there (enrolled_at).
CREATE TABLE agents (
    id                 text PRIMARY KEY DEFAULT new_id('ag-') CONSTRAINT agent_id_format CHECK (is_id(id)),
    name               text NOT NULL CONSTRAINT agent_name_length CHECK (length(name) BETWEEN 1 AND 128),
    kind               text NOT NULL DEFAULT 'nginx-module' CONSTRAINT agent_kind CHECK (kind IN ('nginx-module', 'pull')),
    organization_id    text CONSTRAINT agent_organization_fkey REFERENCES organizations ON DELETE RESTRICT,
    url                text CONSTRAINT agent_url_format CHECK (url ~ '^https://[^/?#@]+$'),
    -- where handshakes confirm deployments, when it is not the listener's own address
    probe_address      text,
    fingerprint        text CONSTRAINT agent_fingerprint_format CHECK (fingerprint ~ '^[0-9a-f]{64}$'),
    trust_first_use    boolean NOT NULL DEFAULT false,
    status             text NOT NULL DEFAULT 'Pending' CONSTRAINT agent_status CHECK (status IN ('Pending', 'Online', 'Offline', 'Degraded', 'Retired')),
    hostname           text NOT NULL DEFAULT '',
    os                 text NOT NULL DEFAULT '',
    architecture       text NOT NULL DEFAULT '',
    ip_address         text NOT NULL DEFAULT '',
    version            text NOT NULL DEFAULT '',
    nginx_version      text NOT NULL DEFAULT '',
    openssl_version    text NOT NULL DEFAULT '',
    workers            int,
    identity_expires_at timestamptz,
    enrolled_at        timestamptz,
    report_etag        text,
    next_poll_at       timestamptz NOT NULL DEFAULT now(),
    poll_failures      int NOT NULL DEFAULT 0,
    last_error         text,
    last_heartbeat_at  timestamptz,
    registered_at      timestamptz NOT NULL DEFAULT now(),
    retired_at         timestamptz,
    retired_reason     text,
    CONSTRAINT agent_pinned CHECK (kind <> 'nginx-module' OR url IS NOT NULL)
);
-- A retired agent gives its name and address back.
CREATE UNIQUE INDEX agent_name_key ON agents (name) WHERE retired_at IS NULL;
CREATE UNIQUE INDEX agent_url_key ON agents (url) WHERE retired_at IS NULL;

CREATE TABLE deployment_targets (
    id              text PRIMARY KEY DEFAULT new_id('tgt-') CONSTRAINT target_id_format CHECK (is_id(id)),
    name            text NOT NULL CONSTRAINT target_name_key UNIQUE,
    type            text NOT NULL DEFAULT 'nginx-module',
    agent_id        text NOT NULL CONSTRAINT target_agent_fkey REFERENCES agents ON DELETE RESTRICT,
    -- nginx-module: {"record": name in the store, "probe": "host:port"}
    config          jsonb NOT NULL DEFAULT '{}' CONSTRAINT target_config_object CHECK (jsonb_typeof(config) = 'object'),
    secrets         text,
    enabled         boolean NOT NULL DEFAULT true,
    last_tested_at  timestamptz,
    test_status     text,
    source          text NOT NULL DEFAULT 'api',
    retired_at      timestamptz,
    retired_reason  text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE managed_certificates (
    id                      text PRIMARY KEY DEFAULT new_id('mc-') CONSTRAINT certificate_id_format CHECK (is_id(id)),
    name                    text NOT NULL CONSTRAINT certificate_name_length CHECK (length(name) BETWEEN 1 AND 253),
    common_name             text NOT NULL CONSTRAINT certificate_common_name_length CHECK (length(common_name) BETWEEN 1 AND 253),
    sans                    text[] NOT NULL DEFAULT '{}' CONSTRAINT certificate_sans_count CHECK (cardinality(sans) <= 100),
    environment             text NOT NULL DEFAULT '',
    organization_id         text CONSTRAINT certificate_organization_fkey REFERENCES organizations ON DELETE RESTRICT,
    owner_id                text CONSTRAINT certificate_owner_fkey REFERENCES owners ON DELETE RESTRICT,
    team_id                 text CONSTRAINT certificate_team_fkey REFERENCES teams ON DELETE RESTRICT,
    issuer_id               text NOT NULL CONSTRAINT certificate_issuer_fkey REFERENCES issuers ON DELETE RESTRICT,
    renewal_policy_id       text CONSTRAINT certificate_renewal_policy_fkey REFERENCES renewal_policies ON DELETE RESTRICT,
    certificate_profile_id  text CONSTRAINT certificate_profile_fkey REFERENCES certificate_profiles ON DELETE RESTRICT,
    key_type                text NOT NULL DEFAULT 'ec-p256' CONSTRAINT certificate_key_type CHECK (key_type IN ('ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519')),
    status                  text NOT NULL DEFAULT 'Pending' CONSTRAINT certificate_status CHECK (status IN
                            ('Pending', 'Active', 'Expiring', 'Expired', 'RenewalInProgress', 'Failed', 'Revoked', 'Archived')),
    expires_at              timestamptz,
    not_before              timestamptz,     -- of the version that expires_at belongs to
    renew_at                timestamptz,     -- when the sweep takes it; NULL: not by itself
    tags                    jsonb NOT NULL DEFAULT '{}' CONSTRAINT certificate_tags_object CHECK (jsonb_typeof(tags) = 'object'),
    source                  text NOT NULL DEFAULT 'API',
    consecutive_failures    int NOT NULL DEFAULT 0,
    next_retry_at           timestamptz,
    last_renewal_at         timestamptz,
    last_deployment_at      timestamptz,
    revoked_at              timestamptz,
    revocation_reason       text,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX managed_certificates_renew_at ON managed_certificates (renew_at) WHERE renew_at IS NOT NULL;
CREATE INDEX managed_certificates_created ON managed_certificates (created_at, id);
CREATE INDEX managed_certificates_expires ON managed_certificates (expires_at, id);

CREATE TABLE certificate_target_mappings (
    certificate_id  text NOT NULL CONSTRAINT mapping_certificate_fkey REFERENCES managed_certificates ON DELETE CASCADE,
    target_id       text NOT NULL CONSTRAINT mapping_target_fkey REFERENCES deployment_targets ON DELETE RESTRICT,
    created_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (certificate_id, target_id)
);
CREATE INDEX certificate_target_mappings_target ON certificate_target_mappings (target_id);

-- One issued chain; never changed.
CREATE TABLE certificate_versions (
    id                  text PRIMARY KEY DEFAULT new_id('cv-'),
    certificate_id      text NOT NULL CONSTRAINT version_certificate_fkey REFERENCES managed_certificates ON DELETE CASCADE,
    issuer_id           text NOT NULL,
    target_id           text,
    order_id            text CONSTRAINT version_order_key UNIQUE,
    serial_number       text NOT NULL,
    not_before          timestamptz NOT NULL,
    not_after           timestamptz NOT NULL,
    fingerprint_sha256  text NOT NULL CONSTRAINT version_fingerprint_key UNIQUE,
    spki_sha256         text NOT NULL,
    pem_chain           text NOT NULL,
    csr_pem             text NOT NULL DEFAULT '',
    key_algorithm       text,
    key_size            int,
    created_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT version_serial_key UNIQUE (issuer_id, serial_number)
);
CREATE INDEX certificate_versions_certificate ON certificate_versions (certificate_id, created_at DESC);

-- One history row for each try at renewing (or first issuing) a certificate.
CREATE TABLE renewal_attempts (
    id               text PRIMARY KEY DEFAULT new_id('ra-'),
    certificate_id   text NOT NULL CONSTRAINT attempt_certificate_fkey REFERENCES managed_certificates ON DELETE CASCADE,
    status           text NOT NULL DEFAULT 'pending' CONSTRAINT attempt_status CHECK (status IN
                     ('pending', 'in_progress', 'completed', 'failed', 'rolled_back', 'awaiting_change_approval', 'superseded')),
    method           text NOT NULL,
    job_id           text,
    rollback_job_id  text,
    requested_by     text NOT NULL,
    old_expiry       timestamptz,
    new_expiry       timestamptz,
    error            text,
    started_at       timestamptz,
    completed_at     timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX renewal_attempts_certificate ON renewal_attempts (certificate_id, created_at DESC);

-- One key and certificate that a renewal obtains for one target: what each step
-- learnt is stored before the next begins (intent before act).
CREATE TABLE orders (
    id              text PRIMARY KEY DEFAULT new_id('ord-'),
    attempt_id      text NOT NULL CONSTRAINT order_attempt_fkey REFERENCES renewal_attempts ON DELETE CASCADE,
    certificate_id  text NOT NULL,
    target_id       text,                        -- NULL: no target, keygen=server is not for that
    issuer_id       text NOT NULL,
    state           text NOT NULL DEFAULT 'new' CONSTRAINT order_state CHECK (state IN ('new', 'ready', 'issued', 'deployed', 'failed')),
    key_type        text NOT NULL,
    sans            text NOT NULL,               -- "DNS:a,IP:192.0.2.1"
    must_staple     boolean NOT NULL DEFAULT false,
    csr_pem         text,
    serial_number   text,                        -- drawn before the CA is asked
    not_before      timestamptz,
    not_after       timestamptz,
    external_ref    text,
    version_id      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT order_target_key UNIQUE NULLS NOT DISTINCT (attempt_id, target_id)
);

-- The hot table: open jobs only.  A finished one moves to job_history.
CREATE TABLE jobs (
    id              text PRIMARY KEY DEFAULT new_id('job-'),
    type            text NOT NULL CONSTRAINT job_type CHECK (type IN
                    ('Issuance', 'Renewal', 'Deployment', 'Validation', 'Revocation', 'Rollback', 'Discovery', 'Notification', 'Enrolment', 'OCSP')),
    status          text NOT NULL DEFAULT 'Pending' CONSTRAINT job_status CHECK (status IN ('Pending', 'AwaitingCSR', 'AwaitingApproval', 'Running')),
    subject         text NOT NULL,               -- what must not be worked on twice
    certificate_id  text,
    target_id       text,
    agent_id        text,
    version_id      text,
    attempt_id      text,
    data            jsonb NOT NULL DEFAULT '{}',
    priority        int NOT NULL DEFAULT 0,      -- higher first: nearly due before bulk
    attempts        int NOT NULL DEFAULT 0,
    max_attempts    int NOT NULL DEFAULT 3,
    last_error      text,
    requested_by    text NOT NULL DEFAULT 'system',
    epoch           bigint NOT NULL DEFAULT 0,   -- grows with each claim
    lease_until     timestamptz,
    worker          text,
    scheduled_at    timestamptz NOT NULL DEFAULT now(),
    started_at      timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX job_open_key ON jobs (type, subject);
CREATE INDEX jobs_claim ON jobs (priority DESC, scheduled_at) WHERE status = 'Pending';
CREATE INDEX jobs_lease ON jobs (lease_until) WHERE status = 'Running';

CREATE TABLE job_history (
    id              text NOT NULL,
    type            text NOT NULL,
    status          text NOT NULL,               -- Completed, Failed, Cancelled
    subject         text NOT NULL,
    certificate_id  text,
    target_id       text,
    agent_id        text,
    version_id      text,
    attempt_id      text,
    data            jsonb NOT NULL,
    priority        int NOT NULL,
    attempts        int NOT NULL,
    max_attempts    int NOT NULL,
    last_error      text,
    requested_by    text NOT NULL,
    epoch           bigint NOT NULL,
    worker          text,
    scheduled_at    timestamptz NOT NULL,
    started_at      timestamptz,
    created_at      timestamptz NOT NULL,
    completed_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (completed_at, id)
) PARTITION BY RANGE (completed_at);
CREATE TABLE job_history_rest PARTITION OF job_history DEFAULT;
CREATE INDEX job_history_id ON job_history (id);
CREATE INDEX job_history_certificate ON job_history (certificate_id, completed_at DESC);

CREATE TABLE loops (
    name        text PRIMARY KEY,
    next_run    timestamptz NOT NULL DEFAULT now(),
    last_run    timestamptz,
    last_error  text
);

-- One report of one agent.
CREATE TABLE discovery_scans (
    id                  text PRIMARY KEY DEFAULT new_id('dscan-'),
    agent_id            text NOT NULL CONSTRAINT scan_agent_fkey REFERENCES agents ON DELETE CASCADE,
    directories         text[] NOT NULL DEFAULT '{}',
    certificates_found  int NOT NULL DEFAULT 0,
    certificates_new    int NOT NULL DEFAULT 0,
    errors_count        int NOT NULL DEFAULT 0,
    scan_duration_ms    int NOT NULL DEFAULT 0,
    started_at          timestamptz NOT NULL DEFAULT now(),
    completed_at        timestamptz
);
CREATE INDEX discovery_scans_agent ON discovery_scans (agent_id, started_at DESC);

-- One certificate seen at one place; place is "file:line server names" for a
-- server block, a path, or host:port.
CREATE TABLE discovered_certificates (
    id                      text PRIMARY KEY DEFAULT new_id('dcert-'),
    fingerprint_sha256      text NOT NULL,
    agent_id                text NOT NULL CONSTRAINT discovered_agent_fkey REFERENCES agents ON DELETE CASCADE,
    place                   text NOT NULL,
    source_format           text NOT NULL DEFAULT 'live',
    source                  text NOT NULL DEFAULT '',      -- store, static, variable, placeholder
    server_names            text[] NOT NULL DEFAULT '{}',
    listen                  text[] NOT NULL DEFAULT '{}',
    record                  text,
    common_name             text NOT NULL DEFAULT '',
    sans                    text[] NOT NULL DEFAULT '{}',
    serial_number           text NOT NULL,
    issuer_dn               text NOT NULL,
    subject_dn              text NOT NULL,
    not_before              timestamptz NOT NULL,
    not_after               timestamptz NOT NULL,
    key_algorithm           text NOT NULL DEFAULT '',
    key_size                int NOT NULL DEFAULT 0,
    is_ca                   boolean NOT NULL DEFAULT false,
    is_leaf                 boolean NOT NULL DEFAULT true,
    has_private_key         boolean NOT NULL DEFAULT false,
    must_staple             boolean NOT NULL DEFAULT false,
    staple                  text NOT NULL DEFAULT '',
    ocsp_url                text NOT NULL DEFAULT '',
    staple_next_update      timestamptz,
    pem_data                text NOT NULL,
    discovery_scan_id       text,
    managed_certificate_id  text CONSTRAINT discovered_certificate_fkey REFERENCES managed_certificates ON DELETE SET NULL,
    status                  text NOT NULL DEFAULT 'Unmanaged' CONSTRAINT discovered_status CHECK (status IN ('Unmanaged', 'Managed', 'Dismissed')),
    -- valid > 30 days, expiring_soon <= 30, expiring <= 7, expired
    expiry_status           text NOT NULL DEFAULT 'valid' CONSTRAINT discovered_expiry CHECK (expiry_status IN ('valid', 'expiring_soon', 'expiring', 'expired')),
    days_until_expiry       int NOT NULL DEFAULT 0,
    first_seen_at           timestamptz NOT NULL DEFAULT now(),
    last_seen_at            timestamptz NOT NULL DEFAULT now(),
    dismissed_at            timestamptz,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT discovered_place_key UNIQUE (fingerprint_sha256, agent_id, place)
);
CREATE INDEX discovered_certificates_agent ON discovered_certificates (agent_id);
CREATE INDEX discovered_certificates_managed ON discovered_certificates (managed_certificate_id);
CREATE INDEX discovered_certificates_not_after ON discovered_certificates (not_after);

-- Staples that were pushed: one for each certificate on each agent.
CREATE TABLE ocsp_staples (
    agent_id            text NOT NULL CONSTRAINT staple_agent_fkey REFERENCES agents ON DELETE CASCADE,
    fingerprint_sha256  text NOT NULL,
    this_update         timestamptz,
    next_update         timestamptz,
    refresh_at          timestamptz NOT NULL DEFAULT now(),
    failures            int NOT NULL DEFAULT 0,
    last_error          text,
    pushed_at           timestamptz,
    PRIMARY KEY (agent_id, fingerprint_sha256)
);
CREATE INDEX ocsp_staples_refresh ON ocsp_staples (refresh_at);

CREATE TABLE certificate_revocations (
    id               text PRIMARY KEY DEFAULT new_id('rev-'),
    certificate_id   text NOT NULL,
    issuer_id        text NOT NULL,
    serial_number    text NOT NULL,
    reason           text NOT NULL,
    reason_code      int NOT NULL,
    not_after        timestamptz NOT NULL,
    revoked_by       text NOT NULL,
    revoked_at       timestamptz NOT NULL DEFAULT now(),
    issuer_notified  boolean NOT NULL DEFAULT false,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT revocation_serial_key UNIQUE (issuer_id, serial_number)
);

-- The current CRL of each issuer; number grows for ever (RFC 5280 5.2.3).
CREATE TABLE crls (
    issuer_id      text PRIMARY KEY,
    number         bigint NOT NULL,
    this_update    timestamptz NOT NULL,
    next_update    timestamptz NOT NULL,
    revoked_count  int NOT NULL,
    der            bytea NOT NULL,
    generated_at   timestamptz NOT NULL DEFAULT now()
);

-- CAs and certificates of the daemon itself: 'fleet' (CA), 'controller' (client
-- certificate towards modules), 'api' (server certificate).  key is sealed.
CREATE TABLE authorities (
    name         text PRIMARY KEY,
    certificate  text NOT NULL,
    key          text NOT NULL,
    not_after    timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_keys (
    id            text PRIMARY KEY DEFAULT new_id('key-') CONSTRAINT api_key_id_format CHECK (is_id(id)),
    name          text NOT NULL CONSTRAINT api_key_name_key UNIQUE,
    hash          text NOT NULL CONSTRAINT api_key_hash_key UNIQUE,   -- SHA-256, hex
    permissions   text[] NOT NULL,               -- "*", "cert.*", "cert.read"
    expires_at    timestamptz,
    last_used_at  timestamptz,
    revoked_at    timestamptz,
    created_by    text NOT NULL DEFAULT 'system',
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE audit_events (
    seq             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id              text NOT NULL DEFAULT new_id('audit-') CONSTRAINT audit_id_key UNIQUE,
    actor           text NOT NULL,
    actor_type      text NOT NULL CONSTRAINT audit_actor_type CHECK (actor_type IN ('User', 'System', 'Agent', 'APIKey', 'Anonymous')),
    action          text NOT NULL,
    resource_type   text NOT NULL,
    resource_id     text NOT NULL,
    details         jsonb NOT NULL DEFAULT '{}',
    event_category  text NOT NULL DEFAULT 'cert_lifecycle' CONSTRAINT audit_category CHECK (event_category IN ('cert_lifecycle', 'auth', 'config')),
    "timestamp"     timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_events_timestamp ON audit_events ("timestamp" DESC, seq DESC);
CREATE INDEX audit_events_resource ON audit_events (resource_type, resource_id);

CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'audit events are append-only' USING CONSTRAINT = 'audit_append_only', ERRCODE = '23514'; END $$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
    FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only();

CREATE TRIGGER touch BEFORE UPDATE ON organizations FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON teams FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON owners FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON issuers FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON certificate_profiles FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON renewal_policies FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON deployment_targets FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON managed_certificates FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON discovered_certificates FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

CREATE VIEW all_jobs AS
SELECT id, type, status, subject, certificate_id, target_id, agent_id, version_id, attempt_id, data, priority, attempts,
       max_attempts, last_error, requested_by, epoch, worker, scheduled_at, started_at, created_at, NULL::timestamptz AS completed_at
  FROM jobs
UNION ALL
SELECT id, type, status, subject, certificate_id, target_id, agent_id, version_id, attempt_id, data, priority, attempts,
       max_attempts, last_error, requested_by, epoch, worker, scheduled_at, started_at, created_at, completed_at
  FROM job_history;
