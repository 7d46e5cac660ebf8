-- Live: whether clients get a certificate from the hosts that it was deployed to.
-- Each mapping has the answer of its host, the certificate has the sum of them.
-- Both change when a report, a deployment or a mapping changes them, so that lists
-- and counts read one column. docs/design/22-live.md.

ALTER TABLE discovered_certificates
    ADD COLUMN served_names   text[] NOT NULL DEFAULT '{}',   -- names whose clients get it
    ADD COLUMN why            text NOT NULL DEFAULT '',       -- in the module's words
    ADD COLUMN names_read_at  timestamptz NOT NULL DEFAULT now();

-- Records of a host that no server block uses.
CREATE TABLE unserved_records (
    agent_id            text NOT NULL CONSTRAINT unserved_agent_fkey REFERENCES agents ON DELETE CASCADE,
    record              text NOT NULL,
    fingerprint_sha256  text NOT NULL,
    discovery_scan_id   text NOT NULL,
    PRIMARY KEY (agent_id, record)
);

-- fingerprint_sha256 is the certificate that clients should get: the one that was
-- deployed last, or the adopted one. live_next is when it is renewed because they
-- do not get it. live_due: to be judged at the next answer of the host, also when
-- its report has not changed.
ALTER TABLE certificate_target_mappings
    ADD COLUMN fingerprint_sha256  text,
    ADD COLUMN deployed_at         timestamptz,
    ADD COLUMN live                text NOT NULL DEFAULT 'unknown' CONSTRAINT mapping_live CHECK (live IN ('yes', 'partly', 'no', 'unknown')),
    ADD COLUMN live_since          timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN live_why            text,
    ADD COLUMN live_served         jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN live_due            boolean NOT NULL DEFAULT false,
    ADD COLUMN live_tries          int NOT NULL DEFAULT 0,
    ADD COLUMN live_next           timestamptz;
CREATE INDEX mapping_live_known ON certificate_target_mappings (agent_id) WHERE live <> 'unknown';
CREATE INDEX mapping_live_due ON certificate_target_mappings (agent_id) WHERE live_due;
CREATE INDEX mapping_live_next ON certificate_target_mappings (live_next) WHERE live_next IS NOT NULL;

ALTER TABLE managed_certificates
    ADD COLUMN live        text NOT NULL DEFAULT 'unknown' CONSTRAINT certificate_live CHECK (live IN ('yes', 'partly', 'no', 'unknown')),
    ADD COLUMN live_since  timestamptz;
CREATE INDEX managed_certificates_not_live ON managed_certificates (live) WHERE live <> 'yes';

-- "*.example.com" for "www.example.com": the wildcard that covers a name (RFC 6125 6.4.3).
CREATE FUNCTION name_wildcard(name text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT '*' || substring(name FROM '^[^.*~][^.]*(\..+)$') $$;

-- The server block of a place, which is "file:line name key type".
CREATE FUNCTION place_server(place text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT regexp_replace(place, ' [^ ]*$', '') $$;

-- What the hosts of a certificate that do not serve it everywhere serve instead.
CREATE FUNCTION live_differs(p_certificate text) RETURNS jsonb LANGUAGE sql STABLE AS
$$
SELECT coalesce(jsonb_agg(jsonb_build_object('target_id', m.target_id, 'agent_id', m.agent_id, 'live', m.live, 'since', m.live_since,
                                             'expected', m.fingerprint_sha256, 'why', m.live_why, 'served', m.live_served,
                                             'renewal_at', CASE WHEN c.renew_at IS NOT NULL THEN m.live_next END) ORDER BY m.target_id), '[]')
  FROM certificate_target_mappings m JOIN managed_certificates c ON c.id = m.certificate_id
 WHERE m.certificate_id = p_certificate AND m.live <> 'yes' AND m.fingerprint_sha256 IS NOT NULL
$$;

-- The sum of the hosts. Certificates are locked first, so that of two hosts that
-- report at once the second counts the first.
CREATE FUNCTION live_sum(p_certificates text[]) RETURNS void LANGUAGE plpgsql AS
$$
BEGIN
    PERFORM FROM managed_certificates c WHERE c.id = ANY (p_certificates) ORDER BY c.id FOR UPDATE;

    WITH sum AS (
        SELECT c.id, c.live AS before,
               CASE WHEN count(m.live) = 0 THEN 'unknown'
                    WHEN bool_and(m.live = 'yes') THEN 'yes'
                    WHEN bool_or(m.live IN ('no', 'partly')) AND bool_or(m.live IN ('yes', 'partly')) THEN 'partly'
                    WHEN bool_or(m.live = 'no') THEN 'no' ELSE 'unknown' END AS after
          FROM managed_certificates c
          LEFT JOIN certificate_target_mappings m ON m.certificate_id = c.id AND m.fingerprint_sha256 IS NOT NULL
         WHERE c.id = ANY (p_certificates) GROUP BY c.id
    ), changed AS (
        UPDATE managed_certificates c SET live = s.after, live_since = now()
          FROM sum s WHERE c.id = s.id AND s.after <> s.before RETURNING c.id, s.before, s.after
    )
    INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id, details)
    SELECT 'system', 'System', 'certificate_live_changed', 'certificate', id,
           jsonb_build_object('before', before, 'live', after, 'differs', live_differs(id))
      FROM changed ORDER BY id;
END
$$;

CREATE FUNCTION mapping_live() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    changed text[] := ARRAY(SELECT DISTINCT n.certificate_id FROM after n JOIN before o USING (certificate_id, target_id)
                             WHERE n.live <> o.live OR (n.fingerprint_sha256 IS NULL) <> (o.fingerprint_sha256 IS NULL));
BEGIN
    IF cardinality(changed) > 0 THEN
        PERFORM live_sum(changed);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER live_changed AFTER UPDATE ON certificate_target_mappings
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION mapping_live();

CREATE FUNCTION mapping_live_dropped() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    changed text[] := ARRAY(SELECT DISTINCT o.certificate_id FROM before o WHERE o.fingerprint_sha256 IS NOT NULL);
BEGIN
    IF cardinality(changed) > 0 THEN
        PERFORM live_sum(changed);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER live_dropped AFTER DELETE ON certificate_target_mappings
    REFERENCING OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION mapping_live_dropped();

-- A target that moves to another host or record serves nothing there yet.
CREATE FUNCTION mapping_moved() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    NEW.fingerprint_sha256 := NULL;
    NEW.deployed_at := NULL;
    NEW.live := 'unknown';
    NEW.live_since := now();
    NEW.live_why := NULL;
    NEW.live_served := '[]';
    NEW.live_next := NULL;
    NEW.live_due := false;
    RETURN NEW;
END
$$;
CREATE TRIGGER live_moved BEFORE UPDATE OF agent_id ON certificate_target_mappings FOR EACH ROW
    WHEN (OLD.agent_id <> NEW.agent_id) EXECUTE FUNCTION mapping_moved();

-- Both below look rows up by index, however few or many there are; live_seen() joins
-- what they answer, for which no statistics are kept: there a nested loop over all
-- pairs is never right.
CREATE FUNCTION live_places(p_agent text, p_from timestamptz, p_due boolean)
    RETURNS TABLE (certificate_id text, target_id text, place text, expected text, made timestamptz, valid_from timestamptz, names text[],
                   rsa boolean, wanted boolean) LANGUAGE plpgsql STABLE SET enable_nestloop = on AS
$$
BEGIN
    RETURN QUERY
    SELECT m.certificate_id, m.target_id, m.place, m.fingerprint_sha256, v.created_at, coalesce(v.not_before, c.not_before),
           c.common_name || c.sans, c.key_type LIKE 'rsa%', c.status NOT IN ('Archived', 'Revoked')
      FROM certificate_target_mappings m
      JOIN managed_certificates c ON c.id = m.certificate_id
      LEFT JOIN certificate_versions v ON v.fingerprint_sha256 = m.fingerprint_sha256
     WHERE m.agent_id = p_agent AND m.fingerprint_sha256 IS NOT NULL AND (m.deployed_at IS NULL OR m.deployed_at < p_from)
       AND (NOT p_due OR m.live_due);
END
$$;

CREATE FUNCTION live_rows(p_agent text)
    RETURNS TABLE (id text, fingerprint_sha256 text, place text, server text, source text, record text, managed_certificate_id text,
                   served_names text[], why text, names_read_at timestamptz, not_before timestamptz, not_after timestamptz, rsa boolean,
                   version_of text, made timestamptz) LANGUAGE plpgsql STABLE SET enable_nestloop = on AS
$$
BEGIN
    RETURN QUERY
    SELECT d.id, d.fingerprint_sha256, d.place, place_server(d.place), d.source, d.record, d.managed_certificate_id, d.served_names, d.why,
           d.names_read_at, d.not_before, d.not_after, d.key_algorithm LIKE 'rsa%', v.certificate_id, v.created_at
      FROM discovered_certificates d LEFT JOIN certificate_versions v ON v.fingerprint_sha256 = d.fingerprint_sha256
     WHERE d.agent_id = p_agent;
END
$$;

-- How a host serves what was deployed to it, by its report: one row for each
-- mapping that was deployed before p_from, or, with p_due, that is due.
--   shown    a server block has the certificate, or a newer version of it
--   served   what server blocks show instead for a name of the certificate: those
--            that have exactly this name and this kind of key; if none shows it at
--            all, every certificate that clients with its names get
--   newer    one of them, for exactly such a name, is valid and newer
--   put      the host's record has a valid certificate that is no version of this
--            one: only a person puts it there
--   stored   the certificate in the host's record, when no server block uses that
CREATE FUNCTION live_seen(p_agent text, p_from timestamptz, p_due boolean)
    RETURNS TABLE (certificate_id text, target_id text, live text, why text, served jsonb, renew boolean)
    LANGUAGE sql STABLE SET enable_nestloop = off AS
$$
WITH place AS MATERIALIZED (
    SELECT * FROM live_places(p_agent, p_from, p_due)
), row AS MATERIALIZED (
    SELECT * FROM live_rows(p_agent)
), shown AS MATERIALIZED (
    SELECT p.certificate_id, p.target_id, r.id, r.server, r.served_names, r.names_read_at
      FROM place p JOIN row r ON r.fingerprint_sha256 = p.expected
    UNION
    SELECT p.certificate_id, p.target_id, r.id, r.server, r.served_names, r.names_read_at
      FROM place p JOIN row r ON r.version_of = p.certificate_id
     WHERE p.made IS NULL OR r.made >= p.made
), shown_name AS (
    SELECT s.certificate_id, s.target_id, s.server, lower(n.name) AS name, max(s.names_read_at) AS read_at
      FROM shown s, unnest(s.served_names) AS n(name) GROUP BY 1, 2, 3, 4
), shown_at_all AS (
    SELECT DISTINCT s.certificate_id, s.target_id FROM shown s
), name AS MATERIALIZED (
    SELECT DISTINCT p.certificate_id, p.target_id, p.rsa, lower(n.name) AS name
      FROM place p, unnest(p.names) AS n(name)
), row_name AS MATERIALIZED (
    SELECT r.id, r.server, r.rsa, r.names_read_at, lower(s.name) AS name, true AS exact FROM row r, unnest(r.served_names) AS s(name)
    UNION ALL
    SELECT r.id, r.server, r.rsa, r.names_read_at, name_wildcard(lower(s.name)), false FROM row r, unnest(r.served_names) AS s(name)
), other AS (
    SELECT n.certificate_id, n.target_id, r.id, true AS exact
      FROM name n JOIN row_name r ON r.name = n.name AND r.rsa = n.rsa AND r.exact
      JOIN shown_at_all a ON (a.certificate_id, a.target_id) = (n.certificate_id, n.target_id)
      LEFT JOIN shown_name s ON (s.certificate_id, s.target_id, s.server, s.name) = (n.certificate_id, n.target_id, r.server, r.name)
     WHERE s.read_at IS NULL OR s.read_at < r.names_read_at
    UNION ALL
    SELECT n.certificate_id, n.target_id, r.id, r.exact
      FROM name n JOIN row_name r ON r.name = n.name
      LEFT JOIN shown_at_all a ON (a.certificate_id, a.target_id) = (n.certificate_id, n.target_id)
     WHERE a.certificate_id IS NULL
), instead AS (
    SELECT o.certificate_id, o.target_id,
           jsonb_agg(jsonb_build_object('fingerprint_sha256', r.fingerprint_sha256, 'place', r.server, 'source', r.source,
                                       'record', r.record, 'managed_certificate_id', r.managed_certificate_id, 'not_before', r.not_before,
                                       'not_after', r.not_after, 'why', r.why) ORDER BY r.place)
               FILTER (WHERE o.n <= 16) AS served,
           bool_or(o.exact AND r.source <> 'placeholder' AND r.not_after > now() AND r.not_before > p.valid_from) AS newer,
           bool_or(lower(r.record) = p.place AND r.not_after > now() AND r.managed_certificate_id IS DISTINCT FROM p.certificate_id) AS put
      FROM (SELECT o.certificate_id, o.target_id, o.id, bool_or(o.exact) AS exact,
                   row_number() OVER (PARTITION BY o.certificate_id, o.target_id ORDER BY o.id) AS n
              FROM other o GROUP BY 1, 2, 3) o
      JOIN row r ON r.id = o.id JOIN place p ON (p.certificate_id, p.target_id) = (o.certificate_id, o.target_id)
     GROUP BY 1, 2
), record AS (
    SELECT DISTINCT lower(r.record) AS name FROM row r
), judged AS (
    SELECT p.*, i.served, coalesce(i.newer, false) AS newer, coalesce(i.put, false) AS put, u.fingerprint_sha256 AS stored,
           a.certificate_id IS NOT NULL AS is_shown, d.name IS NOT NULL AS is_served
      FROM place p LEFT JOIN instead i ON (i.certificate_id, i.target_id) = (p.certificate_id, p.target_id)
      LEFT JOIN shown_at_all a ON (a.certificate_id, a.target_id) = (p.certificate_id, p.target_id)
      LEFT JOIN record d ON d.name = p.place
      LEFT JOIN unserved_records u ON u.agent_id = p_agent AND lower(u.record) = p.place
)
SELECT j.certificate_id, j.target_id, CASE WHEN j.is_shown AND j.served IS NULL THEN 'yes' WHEN j.is_shown THEN 'partly' ELSE 'no' END,
       CASE WHEN j.is_shown AND j.served IS NULL THEN NULL
            WHEN j.put THEN 'somebody has put another certificate into record "' || j.place || '" of the host: renew this one to replace it, or archive it'
            WHEN j.newer THEN 'the host serves a newer certificate for a name of this one: remove that one, renew this one, or archive it'
            WHEN j.is_shown THEN 'some server blocks serve another certificate'
            WHEN j.stored = j.expected THEN 'the certificate is stored on the host, but no server block serves it: it needs "certctl on", '
                                            || 'a server_name that it covers, and no newer certificate of the server''s own'
            WHEN j.stored IS NOT NULL THEN 'record "' || j.place || '" of the host has another certificate, and no server block serves it'
            WHEN j.is_served THEN 'record "' || j.place || '" of the host has another certificate'
            WHEN j.place IS NULL THEN 'the host does not serve it'
            ELSE 'the host has no record "' || j.place || '": its store was lost, or the record was deleted' END,
       coalesce(j.served, '[]'),
       j.wanted AND NOT j.newer AND NOT j.put AND j.stored IS NULL AND NOT (j.is_shown AND j.served IS NULL)
  FROM judged j
$$;

-- Waits of renewals because clients do not get a certificate: at once, after an
-- hour, after a day; then a person has to find out why it does not stay.
CREATE FUNCTION live_wait(tries int) RETURNS interval LANGUAGE sql IMMUTABLE AS
$$ SELECT (ARRAY['0', '1 hour', '1 day'])[tries + 1]::interval $$;

-- Stores what live_seen() finds. Of a report that was not read in full, the names
-- of rows that have not changed may be others by now: when a certificate would be
-- worse off, nothing is stored and the number of such is answered.
CREATE FUNCTION live_look(p_agent text, p_from timestamptz, p_due boolean, p_full boolean) RETURNS int LANGUAGE plpgsql AS
$$
DECLARE
    found jsonb;
    worse int;
BEGIN
    SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]'), count(*) FILTER (WHERE s.live <> 'yes') INTO found, worse
      FROM live_seen(p_agent, p_from, p_due) s
      JOIN certificate_target_mappings m ON (m.certificate_id, m.target_id) = (s.certificate_id, s.target_id)
     WHERE m.live_due OR (m.live, m.live_why, m.live_served) IS DISTINCT FROM (s.live, s.why, s.served);

    IF worse > 0 AND NOT p_full THEN
        RETURN worse;
    END IF;

    PERFORM FROM managed_certificates c
      WHERE c.id IN (SELECT f.certificate_id FROM jsonb_to_recordset(found) AS f(certificate_id text)) ORDER BY c.id FOR UPDATE;
    UPDATE certificate_target_mappings m
       SET live = f.live, live_why = f.why, live_served = f.served, live_due = false,
           live_since = CASE WHEN m.live = f.live THEN m.live_since ELSE now() END,
           live_tries = t.tries, live_next = CASE WHEN f.renew THEN coalesce(m.live_next, now() + live_wait(t.tries)) END
      FROM jsonb_to_recordset(found) AS f(certificate_id text, target_id text, live text, why text, served jsonb, renew boolean),
           certificate_target_mappings o,
           LATERAL (SELECT CASE WHEN f.live <> 'yes' AND o.live = 'yes' AND o.live_since < now() - interval '1 day' THEN 0
                                ELSE o.live_tries END AS tries) AS t
     WHERE (m.certificate_id, m.target_id) = (f.certificate_id, f.target_id)
       AND (o.certificate_id, o.target_id) = (f.certificate_id, f.target_id)
       AND (m.deployed_at IS NULL OR m.deployed_at < p_from);
    RETURN 0;
END
$$;

-- Of hosts that have not answered for so long nobody knows what they serve.
CREATE FUNCTION live_lost(p_silent interval) RETURNS void LANGUAGE plpgsql AS
$$
DECLARE
    silent text[] := ARRAY(SELECT a.id FROM agents a WHERE a.status IN ('Offline', 'Pending') AND a.retired_at IS NULL
                              AND a.last_heartbeat_at < now() - p_silent
                              AND EXISTS (SELECT FROM certificate_target_mappings m WHERE m.agent_id = a.id AND m.live <> 'unknown'));
BEGIN
    IF cardinality(silent) = 0 THEN
        RETURN;
    END IF;
    PERFORM FROM managed_certificates c
      WHERE c.id IN (SELECT m.certificate_id FROM certificate_target_mappings m WHERE m.agent_id = ANY (silent) AND m.live <> 'unknown')
      ORDER BY c.id FOR UPDATE;
    UPDATE certificate_target_mappings m
       SET live = 'unknown', live_since = now(), live_due = true, live_served = '[]', live_next = NULL,
           live_why = format('agent %s has not answered since %s', a.id, to_char(a.last_heartbeat_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
      FROM agents a WHERE m.agent_id = a.id AND a.id = ANY (silent) AND m.live <> 'unknown' AND m.fingerprint_sha256 IS NOT NULL;
END
$$;

-- What is deployed already: the newest deployed version, or the adopted certificate.
UPDATE certificate_target_mappings m SET fingerprint_sha256 = v.fingerprint_sha256, live_due = true
  FROM (SELECT DISTINCT ON (o.certificate_id, o.target_id) o.certificate_id, o.target_id, v.fingerprint_sha256
          FROM orders o JOIN certificate_versions v ON v.id = o.version_id
         WHERE o.state = 'deployed' ORDER BY o.certificate_id, o.target_id, v.created_at DESC) v
 WHERE (m.certificate_id, m.target_id) = (v.certificate_id, v.target_id);
UPDATE certificate_target_mappings m SET fingerprint_sha256 = d.fingerprint_sha256, live_due = true
  FROM discovered_certificates d
 WHERE m.fingerprint_sha256 IS NULL AND d.managed_certificate_id = m.certificate_id AND d.agent_id = m.agent_id AND d.source <> 'placeholder';

CREATE OR REPLACE VIEW api_certificate_deployments AS
SELECT t.id, t.name, t.type, t.agent_id, t.config, t.enabled, t.last_tested_at, t.test_status, t.source, t.retired_at, t.retired_reason,
       t.created_at, t.updated_at, m.certificate_id, j.status AS deployment_status, j.completed_at AS last_deployed_at, j.last_error,
       m.live, m.live_since, m.live_why, m.fingerprint_sha256
  FROM certificate_target_mappings m
  JOIN deployment_targets t ON t.id = m.target_id
  LEFT JOIN LATERAL (SELECT a.status, a.completed_at, a.last_error FROM all_jobs a
                      WHERE a.certificate_id = m.certificate_id AND a.target_id = m.target_id AND a.type = 'Deployment'
                      ORDER BY a.created_at DESC LIMIT 1) j ON true;

CREATE OR REPLACE VIEW api_discovered_certificates AS
SELECT id, fingerprint_sha256, common_name, sans, serial_number, issuer_dn, subject_dn, not_before, not_after, not_after AS expires_at,
       key_algorithm, key_size, is_ca, is_leaf, has_private_key, must_staple, staple, staple_next_update, pem_data, place AS source_path,
       source_format, source, server_names, listen, record, agent_id, discovery_scan_id, managed_certificate_id, status, expiry_status,
       days_until_expiry, first_seen_at, last_seen_at, dismissed_at, created_at, updated_at, served_names, why
  FROM discovered_certificates;

-- One host is one agent: a second one with its certificate would take its identity.
-- After the row, so that a name or url that exists is answered first; the lock is
-- for two that come at once.
CREATE FUNCTION agent_is_known() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    other agents;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('agent_is_known'), hashtext(NEW.fingerprint));
    SELECT * INTO other FROM agents a
     WHERE a.fingerprint = NEW.fingerprint AND a.id <> NEW.id AND a.retired_at IS NULL ORDER BY a.registered_at, a.id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'CT409', DETAIL = 'agent ' || other.id,
            MESSAGE = format('this host is agent %s (%s): change the url of that agent, or retire it first', other.id, other.name);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER agent_known AFTER INSERT OR UPDATE OF fingerprint ON agents FOR EACH ROW
    WHEN (NEW.fingerprint IS NOT NULL AND NEW.retired_at IS NULL) EXECUTE FUNCTION agent_is_known();

-- A host that is brought back: what its first report shows to be missing is renewed
-- for the person who asked. NULL: nobody has, or it is done.
ALTER TABLE agents
    ADD COLUMN recovery_by        text,
    ADD COLUMN recovery_type      text,
    ADD COLUMN recovery_reason    text,
    ADD COLUMN recovery_override  boolean NOT NULL DEFAULT false;
