-- rule agent_identity_revoked: the identity of this fingerprint was revoked: set the host up with a new store
-- Certificates of our own: what the end of one means for others.

-- An authority gives no certificate more time than it has itself: the attempt says
-- so, since the next renewal comes the sooner.
CREATE OR REPLACE VIEW api_renewal_attempts AS
SELECT a.id, a.certificate_id, a.status, a.method, a.job_id, a.rollback_job_id, a.requested_by, a.old_expiry, a.new_expiry, a.error,
       a.error AS error_message, a.started_at, a.completed_at, a.created_at,
       (SELECT format('the CA issued it until %s, ordered was %s: a certificate does not outlive its CA',
                      to_char(min(v.not_after) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                      to_char(min(o.not_after) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
          FROM orders o JOIN certificate_versions v ON v.id = o.version_id
         WHERE o.attempt_id = a.id AND v.not_after < o.not_after
        HAVING count(*) > 0) AS warning
  FROM renewal_attempts a;

-- A host that was revoked: its identity is not met again under any name.
ALTER TABLE agents ADD COLUMN revoked_at timestamptz, ADD COLUMN revoked_reason text;

CREATE FUNCTION agent_not_revoked() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    IF EXISTS (SELECT FROM agents a WHERE a.fingerprint = NEW.fingerprint AND a.revoked_at IS NOT NULL AND a.id <> NEW.id) THEN
        RAISE EXCEPTION 'the identity % was revoked', NEW.fingerprint USING CONSTRAINT = 'agent_identity_revoked', ERRCODE = '23514';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER agent_identity_revoked BEFORE INSERT OR UPDATE OF fingerprint ON agents FOR EACH ROW EXECUTE FUNCTION agent_not_revoked();

CREATE OR REPLACE VIEW api_agents AS
SELECT id, name, kind, organization_id, url, probe_address, fingerprint, trust_first_use AS trust_on_first_use, status, hostname, os,
       architecture, ip_address, version, nginx_version, openssl_version, workers, identity_expires_at, enrolled_at, last_error,
       last_heartbeat_at, registered_at, retired_at, retired_reason, revoked_at, revoked_reason
  FROM agents;
CREATE OR REPLACE VIEW api_agents_active AS SELECT * FROM api_agents WHERE retired_at IS NULL;
CREATE OR REPLACE VIEW api_agents_retired AS SELECT * FROM api_agents WHERE retired_at IS NOT NULL;
