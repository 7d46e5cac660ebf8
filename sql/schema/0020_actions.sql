-- What a certificate's state allows, what ends with a certificate, and what its CA
-- still issues afterwards.

-- Rows of controller/core/states.c: actions that keep the state ask it as well.
INSERT INTO transitions (machine, source, event, target)
SELECT 'certificate', s, 'change', s FROM unnest(ARRAY['Pending', 'Active', 'Expiring', 'Expired', 'RenewalInProgress', 'Failed', 'Revoked']) s
UNION ALL
SELECT 'certificate', s, 'claim', s FROM unnest(ARRAY['Pending', 'Active', 'Expiring', 'Expired', 'RenewalInProgress', 'Failed']) s
UNION ALL
SELECT 'certificate', 'Archived', 'restore', s FROM unnest(ARRAY['Pending', 'Active', 'Expiring', 'Expired', 'Revoked']) s;

CREATE INDEX orders_open ON orders (certificate_id) WHERE state IN ('new', 'ready', 'issued');

-- Ends the work on a certificate: its jobs are cancelled, its attempts get
-- p_attempt, its orders fail. With p_at_ca, orders that the CA knows, or was being
-- asked for, stay: the CA may still issue them. Their challenges are withdrawn.
CREATE FUNCTION certificate_stop(p_certificate text, p_reason text, p_attempt text, p_at_ca boolean) RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    running text[];
BEGIN
    WITH gone AS (
        DELETE FROM jobs WHERE certificate_id = p_certificate AND type IN ('Issuance', 'Renewal', 'Deployment') RETURNING jobs AS job
    ), kept AS (
        INSERT INTO job_history SELECT h.* FROM gone, job_close(job, 'Cancelled', p_reason) h
    )
    SELECT array_agg((job).attempt_id) INTO running FROM gone WHERE (job).status = 'Running' AND (job).type <> 'Deployment';

    UPDATE renewal_attempts SET status = p_attempt, error = p_reason, completed_at = now()
     WHERE certificate_id = p_certificate AND status IN ('pending', 'in_progress', 'awaiting_change_approval');

    WITH failed AS (
        UPDATE orders o SET state = 'failed', last_error = p_reason
         WHERE o.certificate_id = p_certificate AND o.state IN ('new', 'ready', 'issued')
           AND NOT (p_at_ca AND o.state = 'ready' AND (o.steps > 0 OR o.ca_state IS NOT NULL OR coalesce(o.attempt_id = ANY (running), false)))
        RETURNING o.id
    )
    UPDATE issuer_accounts SET order_id = NULL, locked_until = NULL WHERE order_id IN (SELECT id FROM failed);

    DELETE FROM challenges h USING orders o
     WHERE o.id = h.order_id AND o.certificate_id = p_certificate AND o.state = 'ready' AND h.state = 'planned';
    UPDATE challenges h SET state = 'leaving' FROM orders o
     WHERE o.id = h.order_id AND o.certificate_id = p_certificate AND o.state = 'ready';
END
$$;

ALTER TABLE agents ADD COLUMN revoked_code int;

-- As before, but orders for a key of a revoked host stay: agent_revoke_orders decides.
CREATE OR REPLACE FUNCTION mapping_dropped() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    WITH gone AS (
        DELETE FROM jobs j WHERE j.certificate_id = OLD.certificate_id AND j.target_id = OLD.target_id AND j.type = 'Deployment'
        RETURNING j AS job
    )
    INSERT INTO job_history
    SELECT h.* FROM gone, job_close(gone.job, 'Cancelled', 'the certificate was taken off the target') h;

    WITH failed AS (
        UPDATE orders o SET state = 'failed'
         WHERE o.certificate_id = OLD.certificate_id AND o.target_id = OLD.target_id AND o.state IN ('new', 'ready', 'issued')
           AND NOT (o.state = 'ready' AND EXISTS (SELECT FROM deployment_targets t JOIN agents a ON a.id = t.agent_id
                                                   WHERE t.id = OLD.target_id AND a.revoked_at IS NOT NULL))
        RETURNING o.id, o.attempt_id
    )
    UPDATE renewal_attempts a SET status = 'completed', completed_at = now()
      FROM failed f
     WHERE a.id = f.attempt_id AND a.status IN ('pending', 'in_progress')
       AND EXISTS (SELECT FROM orders o WHERE o.attempt_id = a.id AND o.state = 'deployed')
       AND NOT EXISTS (SELECT FROM orders o WHERE o.attempt_id = a.id AND o.id <> f.id AND o.state IN ('new', 'ready', 'issued'));
    RETURN NULL;
END
$$;

-- An archived certificate has no targets; these are what a restoration gives it.
ALTER TABLE managed_certificates ADD COLUMN archived_at timestamptz, ADD COLUMN archived_targets text[] NOT NULL DEFAULT '{}';
WITH unmapped AS (
    DELETE FROM certificate_target_mappings m USING managed_certificates c
     WHERE c.id = m.certificate_id AND c.status = 'Archived' RETURNING m.certificate_id, m.target_id
)
UPDATE managed_certificates c
   SET archived_at = c.updated_at, archived_targets = ARRAY(SELECT u.target_id FROM unmapped u WHERE u.certificate_id = c.id ORDER BY 1)
 WHERE c.status = 'Archived';

-- The number of revocation_reason in a CRL (RFC 5280 5.3.1).
ALTER TABLE managed_certificates ADD COLUMN revocation_code int;
UPDATE managed_certificates c SET revocation_code = r.reason_code
  FROM certificate_revocations r WHERE c.revoked_at IS NOT NULL AND r.certificate_id = c.id AND r.reason = c.revocation_reason;

-- What the CA issues for a certificate that is revoked, or for a key of a host that
-- is, is revoked when it arrives. The lock waits for a revocation that is not
-- committed yet, so that what follows in the same statement sees it too.
CREATE FUNCTION version_arrived() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    why record;
BEGIN
    PERFORM FROM managed_certificates WHERE id = NEW.certificate_id FOR KEY SHARE;

    SELECT x.reason, x.code INTO why
      FROM (SELECT c.revocation_reason AS reason, c.revocation_code AS code, 1 AS n
              FROM managed_certificates c WHERE c.id = NEW.certificate_id AND c.revoked_at IS NOT NULL
            UNION ALL
            SELECT a.revoked_reason, a.revoked_code, 2
              FROM deployment_targets t JOIN agents a ON a.id = t.agent_id WHERE t.id = NEW.target_id AND a.revoked_at IS NOT NULL) x
     ORDER BY x.n LIMIT 1;

    IF NOT FOUND OR NEW.not_after <= now() THEN
        RETURN NEW;
    END IF;

    INSERT INTO certificate_revocations (certificate_id, issuer_id, serial_number, reason, reason_code, not_after, revoked_by)
    VALUES (NEW.certificate_id, NEW.issuer_id, NEW.serial_number, coalesce(why.reason, 'unspecified'), coalesce(why.code, 0), NEW.not_after, 'system')
    ON CONFLICT (issuer_id, serial_number) DO NOTHING;
    INSERT INTO jobs (type, subject, certificate_id, priority) VALUES ('Revocation', NEW.certificate_id, NEW.certificate_id, 28)
    ON CONFLICT (type, subject) DO NOTHING;
    INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id, details)
    VALUES ('system', 'System', 'certificate_revoked', 'certificate', NEW.certificate_id,
            json_build_object('reason', why.reason, 'serial_number', NEW.serial_number, 'version_id', NEW.id, 'issued_after_revocation', true));
    RETURN NEW;
END
$$;
CREATE TRIGGER version_arrived BEFORE INSERT ON certificate_versions FOR EACH ROW EXECUTE FUNCTION version_arrived();

-- Nothing is issued or deployed for a certificate that has ended, nor deployed to a
-- retired target: a version that arrives late gets no deployment.
CREATE FUNCTION job_allowed() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    RETURN CASE WHEN EXISTS (SELECT FROM managed_certificates c WHERE c.id = NEW.certificate_id AND c.status IN ('Revoked', 'Archived'))
                     OR EXISTS (SELECT FROM deployment_targets t WHERE t.id = NEW.target_id AND t.retired_at IS NOT NULL)
                THEN NULL ELSE NEW END;
END
$$;
CREATE TRIGGER job_allowed BEFORE INSERT ON jobs
    FOR EACH ROW WHEN (NEW.type IN ('Issuance', 'Renewal', 'Deployment', 'Rollback')) EXECUTE FUNCTION job_allowed();

-- The names that a certificate is deployed with, as its order had them, and its key
-- type; NULL: not known.
ALTER TABLE managed_certificates ADD COLUMN deployed_names text, ADD COLUMN deployed_key_type text;

-- Which fields have another value than the deployed certificate. The first of the
-- names is the common name; the order of the others does not matter.
CREATE FUNCTION certificate_pending(common_name text, sans text[], key_type text, deployed_names text, deployed_key_type text) RETURNS text[]
    LANGUAGE sql IMMUTABLE AS
$$
SELECT array_remove(ARRAY[
           CASE WHEN w.names[1] <> d.names[1] THEN 'common_name' END,
           CASE WHEN ARRAY(SELECT n FROM unnest(w.names[2:]) n ORDER BY 1) <> ARRAY(SELECT n FROM unnest(d.names[2:]) n ORDER BY 1) THEN 'sans' END,
           CASE WHEN key_type <> deployed_key_type THEN 'key_type' END], NULL)
  FROM (SELECT string_to_array(certificate_sans_text(common_name, sans), ',') AS names) w,
       (SELECT string_to_array(deployed_names, ',') AS names) d
$$;

UPDATE managed_certificates c SET deployed_names = o.sans, deployed_key_type = o.key_type
  FROM (SELECT DISTINCT ON (v.certificate_id) v.certificate_id, o.sans, o.key_type
          FROM certificate_versions v JOIN orders o ON o.version_id = v.id AND o.state = 'deployed'
         ORDER BY v.certificate_id, v.created_at DESC) o
 WHERE o.certificate_id = c.id;

-- A trigger of its columns and no generated column, which every update of a row
-- would compute again.
ALTER TABLE managed_certificates ADD COLUMN pending_changes text[] NOT NULL DEFAULT '{}';
UPDATE managed_certificates c SET pending_changes = certificate_pending(common_name, sans, key_type, deployed_names, deployed_key_type)
 WHERE deployed_names IS NOT NULL;

CREATE FUNCTION pending_changes() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    NEW.pending_changes := CASE WHEN NEW.deployed_names IS NULL THEN '{}'
                                ELSE certificate_pending(NEW.common_name, NEW.sans, NEW.key_type, NEW.deployed_names, NEW.deployed_key_type) END;
    RETURN NEW;
END
$$;
CREATE TRIGGER pending_changes BEFORE UPDATE OF common_name, sans, key_type, deployed_names, deployed_key_type
    ON managed_certificates FOR EACH ROW EXECUTE FUNCTION pending_changes();

-- What its creator says is in use has the names that it is created with.
CREATE FUNCTION certificate_stated() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    NEW.deployed_names := certificate_sans_text(NEW.common_name, NEW.sans);
    NEW.deployed_key_type := NEW.key_type;
    RETURN NEW;
END
$$;
CREATE TRIGGER certificate_stated BEFORE INSERT ON managed_certificates FOR EACH ROW WHEN (NEW.expires_at IS NOT NULL)
    EXECUTE FUNCTION certificate_stated();

-- The status that a creation gives: who says that it is in use says until when.
CREATE FUNCTION stated_status(p_status text, p_expires timestamptz) RETURNS text LANGUAGE plpgsql STABLE AS
$$
BEGIN
    IF p_status = 'Active' AND p_expires IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/expires_at',
            MESSAGE = 'expires_at is required with status Active: when does the certificate that is in use expire?';
    END IF;
    RETURN coalesce(p_status, 'Pending');
END
$$;

-- A retired target stays as it is; another one may have its name.
UPDATE deployment_targets SET enabled = false WHERE retired_at IS NOT NULL AND enabled;
ALTER TABLE deployment_targets DROP CONSTRAINT target_name_key;
CREATE UNIQUE INDEX target_name_key ON deployment_targets (name) WHERE retired_at IS NULL;

CREATE FUNCTION target_retired() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'CT409',
        MESSAGE = format('target %s is retired since %s: it cannot be enabled or moved; create a new target', OLD.id,
                         to_char(OLD.retired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
END
$$;
CREATE TRIGGER target_retired BEFORE UPDATE ON deployment_targets FOR EACH ROW
    WHEN (OLD.retired_at IS NOT NULL AND (NEW.enabled OR NEW.retired_at IS NULL OR NEW.agent_id <> OLD.agent_id OR NEW.type <> OLD.type
                                          OR NEW.config <> OLD.config))
    EXECUTE FUNCTION target_retired();

-- covered: an active policy applies, by name, organization or as the default.
CREATE OR REPLACE VIEW api_certificates AS
SELECT c.id, c.name, c.common_name, c.sans, c.environment, c.organization_id, c.owner_id, c.team_id, c.issuer_id,
       ARRAY(SELECT m.target_id FROM certificate_target_mappings m WHERE m.certificate_id = c.id ORDER BY m.target_id) AS target_ids,
       ARRAY(SELECT DISTINCT t.agent_id FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
              WHERE m.certificate_id = c.id) AS agent_ids,
       c.renewal_policy_id, c.certificate_profile_id, c.key_type, c.status, c.expires_at, c.expires_at AS not_after, c.renew_at, c.tags,
       c.source, c.consecutive_failures, c.next_retry_at, c.last_renewal_at, c.last_deployment_at, c.revoked_at, c.revocation_reason,
       c.created_at, c.updated_at, c.live, c.live_since, live_differs(c.id) AS live_differs,
       CASE WHEN c.status IN ('Revoked', 'Archived') THEN NULL
            WHEN c.renewal_policy_id IS NOT NULL THEN c.renewal_policy_id IN (SELECT p.id FROM renewal_policies p WHERE p.is_active)
            WHEN c.organization_id IN (SELECT p.organization_id FROM renewal_policies p WHERE p.organization_id IS NOT NULL)
            THEN c.organization_id IN (SELECT p.organization_id FROM renewal_policies p WHERE p.organization_id IS NOT NULL AND p.is_active)
            ELSE EXISTS (SELECT FROM renewal_policies p WHERE p.is_default AND p.is_active) END AS covered,
       CASE WHEN c.renew_at IS NULL AND c.status NOT IN ('Revoked', 'Archived')
            THEN (SELECT renewal_refusal(c, p)
                    FROM (SELECT) x LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true) END AS renewal_refused,
       c.archived_at, c.pending_changes, c.pending_changes <> '{}' AS has_pending_changes,
       EXISTS (SELECT FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
                WHERE m.certificate_id = c.id AND m.place IS NOT NULL AND t.enabled AND t.retired_at IS NULL) AS has_target
  FROM managed_certificates c;
