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
       orders_shown(a.id) AS orders,
       (SELECT min(o.next_at) FROM orders o WHERE o.attempt_id = a.id AND o.state = 'ready') AS next_at,
       (SELECT o.last_error FROM orders o WHERE o.attempt_id = a.id AND o.last_error IS NOT NULL ORDER BY o.updated_at DESC LIMIT 1) AS last_error
  FROM renewal_attempts a;

-- Why an issuer gets no requests now.
CREATE FUNCTION issuer_paused(p_issuer text) RETURNS issuer_accounts LANGUAGE sql STABLE AS
$$ SELECT * FROM issuer_accounts a WHERE a.issuer_id = p_issuer AND a.paused_until > now() $$;

CREATE OR REPLACE VIEW api_issuers AS
SELECT id, name, type, config, enabled, source, last_tested_at, test_status, created_at, updated_at,
       (issuer_paused(id)).paused_until, (issuer_paused(id)).pause_reason
  FROM issuers;

CREATE OR REPLACE VIEW all_jobs AS
SELECT id, type, status, subject, certificate_id, target_id, agent_id, version_id, attempt_id, data, priority, attempts,
       max_attempts, last_error, requested_by, epoch, worker, scheduled_at, started_at, created_at, NULL::timestamptz AS completed_at,
       issuer_id
  FROM jobs
UNION ALL
SELECT id, type, status, subject, certificate_id, target_id, agent_id, version_id, attempt_id, data, priority, attempts,
       max_attempts, last_error, requested_by, epoch, worker, scheduled_at, started_at, created_at, completed_at, ''
  FROM job_history;

-- A pending job: when it goes on, and what it waits for. The subselects are for few
-- rows only: a page by number runs them for the pages before as well.
CREATE OR REPLACE VIEW api_jobs AS
SELECT j.id, j.type, j.status, j.certificate_id, j.target_id, j.agent_id, j.version_id, j.attempt_id, j.attempts, j.max_attempts, j.last_error,
       j.requested_by, j.scheduled_at, j.started_at, j.completed_at, j.created_at,
       CASE WHEN j.type <> 'Deployment' OR j.status = 'Cancelled' THEN 'skipped' WHEN j.status = 'Completed' THEN 'success'
            WHEN j.status = 'Failed' THEN 'failed' ELSE 'pending' END AS verification_status,
       CASE WHEN j.status = 'Pending' AND j.issuer_id = '' THEN j.scheduled_at
            WHEN j.status = 'Pending'
            THEN greatest(j.scheduled_at, (SELECT a.paused_until FROM issuer_accounts a WHERE a.issuer_id = j.issuer_id AND a.paused_until > now()))
       END AS next_at,
       CASE WHEN j.status = 'Pending' AND j.issuer_id <> ''
            THEN (SELECT format('issuer %s is paused: %s', a.issuer_id, a.pause_reason)
                    FROM issuer_accounts a WHERE a.issuer_id = j.issuer_id AND a.paused_until > now()) END AS waits_for,
       CASE WHEN j.last_error IS NOT NULL AND j.type IN ('Issuance', 'Renewal')
            THEN (SELECT o.problem FROM orders o WHERE o.attempt_id = j.attempt_id AND o.problem IS NOT NULL ORDER BY o.updated_at DESC LIMIT 1)
       END AS problem
  FROM all_jobs j;

CREATE INDEX managed_certificates_issuer ON managed_certificates (issuer_id);

-- Whether any other enabled issuer has certificates, and so may need a job thread.
CREATE FUNCTION issuer_has_others(p_issuer text) RETURNS boolean LANGUAGE sql STABLE AS
$$
SELECT EXISTS (SELECT FROM issuers o
                WHERE o.id <> p_issuer AND o.enabled
                  AND (EXISTS (SELECT FROM managed_certificates c WHERE c.issuer_id = o.id)
                       OR EXISTS (SELECT FROM renewal_policies p WHERE p.issuer_id = o.id)))
$$;

-- The issuers whose jobs a process may claim now, with how many of them it is
-- running; '' are jobs that need no issuer. All issuers together get p_slots of
-- the process; one leaves a slot to the others, where there are others.
CREATE OR REPLACE FUNCTION job_lanes(p_process text, p_slots int) RETURNS TABLE (issuer_id text, running bigint) LANGUAGE sql STABLE AS
$$
WITH busy AS (
    SELECT j.issuer_id, count(*) AS n FROM jobs j
     WHERE j.status = 'Running' AND j.issuer_id <> '' AND starts_with(j.worker, p_process) GROUP BY 1
)
SELECT '', 0::bigint
UNION ALL
SELECT i.id, coalesce(b.n, 0)
  FROM issuers i LEFT JOIN busy b ON b.issuer_id = i.id LEFT JOIN issuer_accounts a ON a.issuer_id = i.id
 WHERE (SELECT coalesce(sum(n), 0) FROM busy) < p_slots
   AND (coalesce(b.n, 0) < greatest(1, p_slots - 1) OR NOT issuer_has_others(i.id))
   AND (a.paused_until IS NULL OR a.paused_until <= now())
$$;
