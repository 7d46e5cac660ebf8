-- A place is where a certificate is served: a record of an agent's store, or a
-- file on its host. One live certificate holds it; an archived or revoked one
-- holds none, so that another can take its place: it is never deployed again.

ALTER TABLE certificate_target_mappings ADD COLUMN agent_id text, ADD COLUMN place text;

-- The place that a target has for a certificate. Names of records are the same in
-- upper and lower case; "//" and "/./" in a path are "/".
CREATE FUNCTION target_place(p_type text, config jsonb, certificate_id text, common_name text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$
SELECT CASE p_type WHEN 'nginx-module' THEN lower(x.place) ELSE regexp_replace(x.place, '(/\.?)+/', '/', 'g') END
  FROM (SELECT replace(replace(CASE p_type WHEN 'nginx-module' THEN coalesce(nullif(config ->> 'record', ''), '{common_name}')
                                           WHEN 'nginx' THEN config ->> 'cert_path' END,
                               '{id}', certificate_id), '{common_name}', common_name) AS place) AS x
$$;

-- Whether each certificate has a place of its own at the target.
CREATE FUNCTION target_is_shared(p_type text, config jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT coalesce(target_place(p_type, config, '?', '') <> target_place(p_type, config, '', '')
                   OR target_place(p_type, config, '', '?') <> target_place(p_type, config, '', ''), false) $$;

-- The places that mappings ought to have: of a certificate, a target, both, or all.
CREATE FUNCTION places_wanted(p_certificate text, p_target text)
    RETURNS TABLE (certificate_id text, target_id text, agent_id text, place text) LANGUAGE sql STABLE AS
$$
SELECT m.certificate_id, m.target_id, t.agent_id,
       CASE WHEN c.status NOT IN ('Archived', 'Revoked') THEN target_place(t.type, t.config, c.id, c.common_name) END
  FROM certificate_target_mappings m
  JOIN managed_certificates c ON c.id = m.certificate_id
  JOIN deployment_targets t ON t.id = m.target_id
 WHERE (p_certificate IS NULL OR m.certificate_id = p_certificate) AND (p_target IS NULL OR m.target_id = p_target)
$$;

-- Gives mappings their places. Certificates and targets are locked, so that what
-- a place is made of does not change before it is committed. Who is late gets
-- the other's name: DETAIL is "certificate <id>".
CREATE FUNCTION places_take(p_certificate text, p_target text) RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    taken record;
BEGIN
    PERFORM FROM deployment_targets t
      WHERE t.id IN (SELECT w.target_id FROM places_wanted(p_certificate, p_target) w) ORDER BY t.id FOR SHARE;
    PERFORM FROM managed_certificates c
      WHERE c.id IN (SELECT w.certificate_id FROM places_wanted(p_certificate, p_target) w) ORDER BY c.id FOR SHARE;

    SELECT w.place INTO taken FROM places_wanted(p_certificate, p_target) w WHERE w.place NOT LIKE '/%' AND length(w.place) > 253;
    IF FOUND THEN
        RAISE EXCEPTION 'the record %... has % characters: at most 253 are allowed', left(taken.place, 60), length(taken.place);
    END IF;

    UPDATE certificate_target_mappings m SET agent_id = w.agent_id, place = w.place
      FROM places_wanted(p_certificate, p_target) w
     WHERE m.certificate_id = w.certificate_id AND m.target_id = w.target_id
       AND (m.agent_id, m.place) IS DISTINCT FROM (w.agent_id, w.place);
EXCEPTION WHEN unique_violation THEN
    SELECT w.agent_id, w.place, w.certificate_id AS wants, h.certificate_id AS holder INTO taken
      FROM places_wanted(p_certificate, p_target) w
      JOIN (SELECT m.certificate_id, m.target_id, m.agent_id, m.place FROM certificate_target_mappings m
            UNION ALL SELECT * FROM places_wanted(p_certificate, p_target)) h
        ON (h.agent_id, h.place) = (w.agent_id, w.place) AND (h.certificate_id, h.target_id) <> (w.certificate_id, w.target_id)
     ORDER BY h.certificate_id <> w.certificate_id DESC, h.certificate_id LIMIT 1;
    RAISE EXCEPTION USING ERRCODE = 'CT409', DETAIL = 'certificate ' || coalesce(taken.holder, ''), MESSAGE =
        CASE WHEN taken.holder = taken.wants THEN format('two targets of certificate %s are at one place: ', taken.holder)
             ELSE format('certificate %s is deployed to this place: ', taken.holder) END
        || format('%s "%s" of agent %s', CASE WHEN taken.place LIKE '/%' THEN 'path' ELSE 'record' END, taken.place, taken.agent_id);
END
$$;

CREATE FUNCTION mapping_added() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM places_take(NEW.certificate_id, NEW.target_id); RETURN NULL; END $$;

CREATE FUNCTION certificate_moved() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM places_take(NEW.id, NULL); RETURN NULL; END $$;

CREATE FUNCTION target_moved() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    policy text := (SELECT min(d.renewal_policy_id) FROM renewal_policy_targets d WHERE d.target_id = NEW.id);
BEGIN
    IF policy IS NOT NULL AND NOT target_is_shared(NEW.type, NEW.config) THEN
        RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = CASE NEW.type WHEN 'nginx' THEN '/config/cert_path' ELSE '/config/record' END,
            MESSAGE = format('renewal policy %s gives this target to many certificates: it must contain {id} or {common_name}', policy);
    END IF;
    PERFORM places_take(NULL, NEW.id);
    RETURN NULL;
END
$$;

-- What is taken off a target is not deployed there any more: another certificate
-- may have its place. A renewal ends with the orders that are left.
CREATE FUNCTION mapping_dropped() RETURNS trigger LANGUAGE plpgsql AS
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

-- The targets of certificates that are created without any under a policy. The
-- table is what keeps them: a target that a policy names cannot be deleted.
ALTER TABLE renewal_policies ADD COLUMN default_target_ids text[] NOT NULL DEFAULT '{}';

CREATE TABLE renewal_policy_targets (
    renewal_policy_id  text NOT NULL CONSTRAINT default_target_policy_fkey REFERENCES renewal_policies ON DELETE CASCADE,
    target_id          text NOT NULL CONSTRAINT default_target_fkey REFERENCES deployment_targets ON DELETE RESTRICT,
    PRIMARY KEY (renewal_policy_id, target_id)
);
CREATE INDEX renewal_policy_targets_target ON renewal_policy_targets (target_id);
COMMENT ON TABLE renewal_policy_targets IS 'renewal_policy';
-- rule default_target_fkey: default_target_ids names no target, or renewal policies still give it to certificates

CREATE FUNCTION policy_targets() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    t   deployment_targets;
    why text;
BEGIN
    DELETE FROM renewal_policy_targets d WHERE d.renewal_policy_id = NEW.id AND d.target_id <> ALL (NEW.default_target_ids);

    FOR i IN 1 .. cardinality(NEW.default_target_ids) LOOP
        SELECT * INTO t FROM deployment_targets WHERE id = NEW.default_target_ids[i] FOR SHARE;
        why := CASE WHEN t.id IS NULL THEN format('target "%s" does not exist', left(NEW.default_target_ids[i], 100))
                    WHEN t.retired_at IS NOT NULL THEN format('target %s is retired', t.id)
                    WHEN NOT target_is_shared(t.type, t.config)
                    THEN format('the %s of target %s must contain {id} or {common_name}: certificates cannot share a place',
                                CASE t.type WHEN 'nginx' THEN 'cert_path' ELSE 'record' END, t.id) END;
        IF why IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'P0001', COLUMN = '/default_target_ids/' || i - 1, MESSAGE = why;
        END IF;
        INSERT INTO renewal_policy_targets VALUES (NEW.id, t.id) ON CONFLICT DO NOTHING;
    END LOOP;
    RETURN NULL;
END
$$;
CREATE TRIGGER policy_targets AFTER INSERT OR UPDATE OF default_target_ids ON renewal_policies
    FOR EACH ROW EXECUTE FUNCTION policy_targets();

CREATE OR REPLACE VIEW api_renewal_policies AS
SELECT id, name, organization_id, is_default, issuer_id, certificate_profile_id, method, auto_renew, auto_renew AS auto_renew_enabled,
       renewal_window_days, renewal_window_days AS renew_before_days, max_retries, retry_interval_seconds, alert_thresholds_days,
       require_change_record, rollback_on_failure, max_concurrent_renewals, is_active, created_at, updated_at, default_target_ids
  FROM renewal_policies;

CREATE TRIGGER place_dropped AFTER DELETE ON certificate_target_mappings FOR EACH ROW EXECUTE FUNCTION mapping_dropped();

-- Where certificates had one place before, the one that was deployed last keeps
-- it. The others are taken off the target, with an audit event: they stay, and are
-- not deployed there any more; their other targets are not changed.
WITH ranked AS (
    SELECT w.*, row_number() OVER by_age AS n, first_value(w.certificate_id) OVER by_age AS holder
      FROM places_wanted(NULL, NULL) w JOIN managed_certificates c ON c.id = w.certificate_id
     WHERE w.place IS NOT NULL
    WINDOW by_age AS (PARTITION BY w.agent_id, w.place ORDER BY c.last_deployment_at DESC NULLS LAST, c.created_at DESC, c.id, w.target_id)
), dropped AS (
    DELETE FROM certificate_target_mappings m USING ranked r
     WHERE r.n > 1 AND m.certificate_id = r.certificate_id AND m.target_id = r.target_id
    RETURNING r.*
)
INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id, details)
SELECT 'system', 'System', 'certificate_target_removed', 'certificate', certificate_id,
       json_build_object('target_id', target_id, 'agent_id', agent_id, 'place', place, 'certificate_id_of_place', holder)
  FROM dropped;

UPDATE certificate_target_mappings m SET agent_id = w.agent_id, place = w.place
  FROM places_wanted(NULL, NULL) w WHERE m.certificate_id = w.certificate_id AND m.target_id = w.target_id;

-- Judged at the end of a statement: one may exchange places.
ALTER TABLE certificate_target_mappings ADD CONSTRAINT mapping_place_key UNIQUE (agent_id, place) DEFERRABLE INITIALLY IMMEDIATE;

CREATE TRIGGER place_added AFTER INSERT ON certificate_target_mappings FOR EACH ROW EXECUTE FUNCTION mapping_added();
CREATE TRIGGER place_moved AFTER UPDATE OF common_name, status ON managed_certificates FOR EACH ROW
    WHEN (OLD.common_name <> NEW.common_name OR (OLD.status IN ('Archived', 'Revoked')) <> (NEW.status IN ('Archived', 'Revoked')))
    EXECUTE FUNCTION certificate_moved();
CREATE TRIGGER place_moved AFTER UPDATE OF type, agent_id, config ON deployment_targets FOR EACH ROW
    WHEN (OLD.type <> NEW.type OR OLD.agent_id <> NEW.agent_id OR OLD.config <> NEW.config) EXECUTE FUNCTION target_moved();
