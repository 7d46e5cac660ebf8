-- One place for a file, however its path is written; what an order waits for, and an
-- issuer, stands in the answers of the API.

-- An absolute path without empty, "." and ".." parts.
CREATE FUNCTION path_resolved(path text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    kept text[] := '{}';
    part text;
BEGIN
    FOREACH part IN ARRAY string_to_array(path, '/') LOOP
        kept := CASE WHEN part IN ('', '.') THEN kept
                     WHEN part = '..' THEN kept[1:cardinality(kept) - 1]
                     ELSE kept || part END;
    END LOOP;
    RETURN '/' || array_to_string(kept, '/');
END
$$;

CREATE OR REPLACE FUNCTION target_place(p_type text, config jsonb, certificate_id text, common_name text) RETURNS text
    LANGUAGE sql IMMUTABLE AS
$$
SELECT CASE p_type WHEN 'nginx-module' THEN lower(x.place) ELSE path_resolved(x.place) END
  FROM (SELECT replace(replace(CASE p_type WHEN 'nginx-module' THEN coalesce(nullif(config ->> 'record', ''), '{common_name}')
                                           WHEN 'nginx' THEN config ->> 'cert_path' END,
                               '{id}', certificate_id), '{common_name}', common_name) AS place) AS x
$$;

-- Places that are there: two that turn out to be one stay as they are until one of
-- them is changed. Nothing has been deployed to such a target.
UPDATE certificate_target_mappings m SET place = w.place
  FROM places_wanted(NULL, NULL) w
 WHERE m.certificate_id = w.certificate_id AND m.target_id = w.target_id AND m.place IS NOT NULL AND m.place <> w.place
   AND NOT EXISTS (SELECT FROM places_wanted(NULL, NULL) o
                    WHERE (o.agent_id, o.place) = (w.agent_id, w.place) AND (o.certificate_id, o.target_id) <> (w.certificate_id, w.target_id));

-- An order as its renewal attempt shows it: how far it is at the CA, when its next
-- step is due, and what the CA said.
CREATE FUNCTION orders_shown(p_attempt text) RETURNS json LANGUAGE sql STABLE AS
$$
SELECT coalesce(json_agg(json_build_object('id', o.id, 'target_id', o.target_id, 'issuer_id', o.issuer_id, 'state', o.state, 'steps', o.steps,
                                           'next_at', CASE WHEN o.state = 'ready' THEN o.next_at END, 'deadline', o.deadline,
                                           'last_error', o.last_error, 'problem', o.problem) ORDER BY o.target_id), '[]')
  FROM orders o WHERE o.attempt_id = p_attempt
$$;

CREATE OR REPLACE VIEW api_renewal_attempts AS
SELECT a.id, a.certificate_id, a.status, a.method, a.job_id, a.rollback_job_id, a.requested_by, a.old_expiry, a.new_expiry, a.error,
       a.error AS error_message, a.started_at, a.completed_at, a.created_at,
       (SELECT format('the CA issued it until %s, ordered was %s: a certificate does not outlive its CA',
                      to_char(min(v.not_after) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
                      to_char(min(o.not_after) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
          FROM orders o JOIN certificate_versions v ON v.id = o.version_id
         WHERE o.attempt_id = a.id AND v.not_after < o.not_after
        HAVING count(*) > 0) AS warning,
       orders_shown(a.id) AS orders
  FROM renewal_attempts a;

-- Why an issuer gets no requests now.
CREATE FUNCTION issuer_paused(p_issuer text) RETURNS issuer_accounts LANGUAGE sql STABLE AS
$$ SELECT * FROM issuer_accounts a WHERE a.issuer_id = p_issuer AND a.paused_until > now() $$;

CREATE OR REPLACE VIEW api_issuers AS
SELECT id, name, type, config, enabled, source, last_tested_at, test_status, created_at, updated_at,
       (issuer_paused(id)).paused_until, (issuer_paused(id)).pause_reason
  FROM issuers;

-- An open job of an order: when it goes on, and what it waits for.
CREATE OR REPLACE VIEW api_jobs AS
SELECT j.id, j.type, j.status, j.certificate_id, j.target_id, j.agent_id, j.version_id, j.attempt_id, j.attempts, j.max_attempts, j.last_error,
       j.requested_by, j.scheduled_at, j.started_at, j.completed_at, j.created_at,
       CASE WHEN j.type <> 'Deployment' OR j.status = 'Cancelled' THEN 'skipped' WHEN j.status = 'Completed' THEN 'success'
            WHEN j.status = 'Failed' THEN 'failed' ELSE 'pending' END AS verification_status,
       CASE WHEN j.status IN ('Pending', 'Running')
            THEN greatest(j.scheduled_at, (SELECT min(o.next_at) FROM orders o WHERE o.attempt_id = j.attempt_id AND o.state = 'ready'
                                              AND j.type IN ('Issuance', 'Renewal')),
                          (SELECT a.paused_until FROM jobs q, issuer_paused(q.issuer_id) a WHERE q.id = j.id)) END AS next_at,
       (SELECT format('issuer %s is paused: %s', a.issuer_id, a.pause_reason)
          FROM jobs q, issuer_paused(q.issuer_id) a WHERE q.id = j.id AND j.status = 'Pending' AND a.issuer_id IS NOT NULL) AS waits_for,
       CASE WHEN j.type IN ('Issuance', 'Renewal')
            THEN (SELECT o.problem FROM orders o WHERE o.attempt_id = j.attempt_id AND o.problem IS NOT NULL ORDER BY o.updated_at DESC LIMIT 1)
       END AS problem
  FROM all_jobs j;
