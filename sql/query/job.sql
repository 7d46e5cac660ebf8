-- The queue and the loops that fill it: lease, epoch, one hot table.

-- $3 begins the names of this process's workers, $4 is how many of them issuers
-- may occupy.
-- name: queue_claim
SELECT id, type, subject, certificate_id, target_id, agent_id, version_id, attempt_id, epoch, attempts, max_attempts, data
  FROM job_claim($1::int, $2, $3, $4::int);

-- Others of its kind for the same agent, to be done with it.
-- name: queue_claim_more
UPDATE jobs SET status = 'Running', attempts = attempts + 1, epoch = epoch + 1,
       lease_until = now() + make_interval(secs => $1::int), worker = $2,
       started_at = coalesce(started_at, now())
 WHERE id IN (SELECT id FROM jobs WHERE status = 'Pending' AND scheduled_at <= now() AND type = $3 AND agent_id = $4
               ORDER BY priority DESC, scheduled_at FOR UPDATE SKIP LOCKED LIMIT $5::int)
RETURNING id, type, subject, certificate_id, target_id, agent_id, version_id, attempt_id, epoch, attempts, max_attempts, data;

-- The guard of every write of a holder: no row, no lease, no write.
-- name: queue_hold
UPDATE jobs SET lease_until = now() + make_interval(secs => $3::int)
 WHERE id = $1 AND epoch = $2::bigint AND status = 'Running'
RETURNING id;

-- name: queue_finish
WITH gone AS (
    DELETE FROM jobs WHERE id = $1 AND epoch = $2::bigint AND status = 'Running' RETURNING jobs AS job
), kept AS (
    INSERT INTO job_history SELECT h.* FROM gone, job_close(job, $3, $4) h WHERE $5::boolean
)
SELECT (job).id FROM gone;

-- Back into the queue after some seconds: pending at the CA, or a passing fault.
-- name: queue_again
UPDATE jobs SET status = 'Pending', lease_until = NULL, worker = NULL,
       attempts = CASE WHEN $4 = '' THEN attempts - 1 ELSE attempts END,
       last_error = coalesce(nullif($4, ''), last_error),
       scheduled_at = now() + make_interval(secs => $3::float8)
 WHERE id = $1 AND epoch = $2::bigint AND status = 'Running'
RETURNING id;

-- A lease that ran out gives its job back; the epoch of the next claim shuts the
-- old holder out. A job that kills its holder each time must end.
-- name: queue_reap
UPDATE jobs SET status = 'Pending', lease_until = NULL, worker = NULL, scheduled_at = now(),
       last_error = 'the worker was lost'
 WHERE status = 'Running' AND lease_until < now()
RETURNING id;

-- What is due: how many jobs that this process may claim, at most $3; which of the
-- loops $4, by number, that run every $5 seconds ("0": not here); and how many
-- milliseconds until more is. A turn that is far ahead was set by a clock that was
-- wrong. The inventory has nothing to do before an agent is due. Loops wait for
-- others that are due soon after.
-- name: queue_watch
WITH lane AS (
    SELECT issuer_id FROM job_lanes($1, $2::int)
), job AS (
    SELECT (SELECT count(*) FROM (SELECT FROM jobs WHERE status = 'Pending' AND scheduled_at <= now()
                                     AND issuer_id IN (SELECT issuer_id FROM lane) LIMIT $3::int) d) AS due,
           (SELECT min(scheduled_at) FROM jobs WHERE status = 'Pending' AND scheduled_at > now()
               AND issuer_id IN (SELECT issuer_id FROM lane)) AS next
), turn AS (
    SELECT n.number, greatest(CASE WHEN l.next_run <= now() + make_interval(secs => n.seconds) + interval '1 minute' THEN l.next_run ELSE now() END,
                              CASE WHEN n.name = 'inventory' THEN coalesce((SELECT min(next_poll_at) FROM agents_polled), 'infinity') END) AS at
      FROM unnest($4::text[], $5::int[]) WITH ORDINALITY n(name, seconds, number) LEFT JOIN loops l ON l.name = n.name
     WHERE n.seconds > 0
)
SELECT job.due, coalesce((SELECT string_agg(number::text, ',') FROM turn WHERE at <= now()), '') AS due_loops,
       (extract(epoch FROM least(job.next, (SELECT min(at) FROM turn WHERE at > now() AND at < 'infinity') + interval '250 milliseconds') - now()) * 1000)::bigint AS wait
  FROM job;

-- The turns of loops $1, each for $2 seconds ("0": not asked for); the numbers of
-- those that no replica had before.
-- name: loop_claim
WITH turn AS (
    SELECT n.name, n.seconds, n.number FROM unnest($1::text[], $2::int[]) WITH ORDINALITY n(name, seconds, number) WHERE n.seconds > 0
), claimed AS (
    INSERT INTO loops AS l (name, next_run, last_run) SELECT name, now() + make_interval(secs => seconds), now() FROM turn ORDER BY name
    ON CONFLICT (name) DO UPDATE SET next_run = excluded.next_run, last_run = now()
     WHERE l.next_run <= now() OR l.next_run > excluded.next_run + interval '1 minute'
    RETURNING l.name
)
SELECT coalesce(string_agg(number::text, ','), '') FROM claimed JOIN turn USING (name);

-- name: loop_error
UPDATE loops SET last_error = $2 WHERE name = $1;

-- Due certificates, the most urgent first, within the account's concurrency,
-- counted once for the sweep; each gets an attempt and a job. Orders that wait for
-- their CA, and CAs that refuse orders for a time, take nothing from others.
-- name: loop_renewal
WITH paused AS (
    SELECT issuer_id FROM issuer_accounts WHERE paused_until > now()
), room AS (
    SELECT greatest(0, coalesce((SELECT max_concurrent_renewals FROM renewal_policies WHERE is_default), 5)
                       - (SELECT count(*) FROM jobs WHERE type IN ('Renewal', 'Issuance') AND issuer_id NOT IN (SELECT issuer_id FROM paused)
                             AND (status = 'Running' OR scheduled_at <= now() + interval '1 minute')))::int AS n
), due AS (
    SELECT c.id, c.expires_at, p.method, p.max_retries
      FROM managed_certificates c, LATERAL policy_of(c.renewal_policy_id, c.organization_id) p
     WHERE c.renew_at <= now()
       AND c.status IN ('Pending', 'Active', 'Expiring', 'Expired', 'Failed')
       AND (c.next_retry_at IS NULL OR c.next_retry_at <= now())
       AND p.auto_renew AND renewal_refusal(c, p) IS NULL AND certificate_rule(c, p) IS NULL
       AND coalesce(c.issuer_id, p.issuer_id) NOT IN (SELECT issuer_id FROM paused)
       AND EXISTS (SELECT FROM certificate_target_mappings m WHERE m.certificate_id = c.id)
       AND NOT EXISTS (SELECT FROM jobs j WHERE j.certificate_id = c.id AND j.type IN ('Renewal', 'Issuance', 'Deployment'))
     ORDER BY c.expires_at, c.id
     LIMIT (SELECT n FROM room)
), superseded AS (
    UPDATE renewal_attempts a SET status = 'superseded', completed_at = now()
      FROM due WHERE a.certificate_id = due.id AND a.status IN ('pending', 'in_progress')
), attempt AS (
    INSERT INTO renewal_attempts (certificate_id, method, requested_by, old_expiry)
    SELECT id, method, 'system', expires_at FROM due
    RETURNING id, certificate_id
), job AS (
    INSERT INTO jobs (type, subject, certificate_id, attempt_id, max_attempts, priority)
    SELECT 'Renewal', a.certificate_id, a.certificate_id, a.id, greatest(1, due.max_retries),
           CASE WHEN due.expires_at < now() + interval '3 days' THEN 20 ELSE 10 END
      FROM attempt a JOIN due ON due.id = a.certificate_id
    RETURNING id, attempt_id, certificate_id
), linked AS (
    INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id, details)
    SELECT 'system', 'System', 'renewal_job_created', 'certificate', certificate_id, json_build_object('job_id', id, 'attempt_id', attempt_id)
      FROM job
), marked AS (
    UPDATE managed_certificates c SET status = 'RenewalInProgress' FROM job WHERE c.id = job.certificate_id
)
SELECT id FROM job;

-- Status by date, in one statement: certificates, observed ones, agents.
-- name: loop_expiry
WITH certificates AS (
    UPDATE managed_certificates c SET status = n.status
      FROM (SELECT m.id, status_by_date(m.not_before, m.expires_at) AS status
              FROM managed_certificates m
             WHERE m.expires_at IS NOT NULL
               AND (m.status IN ('Active', 'Expiring', 'Expired')
                    -- its job was cancelled or lost: nobody is renewing it
                    OR (m.status = 'RenewalInProgress'
                        AND NOT EXISTS (SELECT FROM jobs j WHERE j.certificate_id = m.id)))) AS n
     WHERE c.id = n.id AND c.status <> n.status
    RETURNING c.id
), observed AS (
    UPDATE discovered_certificates d SET expiry_status = n.status, days_until_expiry = n.days
      FROM (SELECT id, floor(extract(epoch FROM not_after - now()) / 86400)::int AS days,
                   expiry_status(not_before, not_after, now()) AS status
              FROM discovered_certificates) AS n
     WHERE d.id = n.id AND (d.expiry_status <> n.status OR d.days_until_expiry <> n.days)
    RETURNING d.id
), events AS (
    INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id)
    SELECT 'system', 'System', 'certificate_status_refreshed', 'certificate', id FROM certificates
)
SELECT id FROM certificates;

-- name: loop_inventory
WITH due AS (
    UPDATE agents SET next_poll_at = now() + make_interval(secs => $1::int * (1 + least(poll_failures, 9)) * (0.95 + random() * 0.1))
     WHERE id IN (SELECT id FROM agents_polled WHERE next_poll_at <= now())
    RETURNING id, identity_expires_at, enrolled_at, identity_ca, trusted_cas
), identities AS (
    INSERT INTO jobs (type, subject, agent_id, priority)
    SELECT 'Enrolment', id, id, 15 FROM due
     WHERE identity_expires_at < now() + (identity_expires_at - enrolled_at) / 2
        OR identity_ca NOT IN (SELECT fingerprint FROM trusted_authorities)
        OR EXISTS (SELECT FROM authorities c WHERE c.state = 'current' AND c.fingerprint <> identity_ca AND c.fingerprint = ANY (trusted_cas))
    ON CONFLICT (type, subject) DO NOTHING
)
INSERT INTO jobs (type, subject, agent_id, max_attempts, priority)
SELECT 'Discovery', id, id, 1, 5 FROM due
ON CONFLICT (type, subject) DO NOTHING
RETURNING id;

-- name: loop_ocsp
WITH due AS (
    UPDATE ocsp_staples s SET refresh_at = now() + interval '10 minutes'
      FROM agents a
     WHERE a.id = s.agent_id AND a.status = 'Online' AND s.refresh_at <= now()
    RETURNING s.agent_id, s.fingerprint_sha256
)
INSERT INTO jobs (type, subject, agent_id, max_attempts, priority, data)
SELECT 'OCSP', agent_id || '/' || fingerprint_sha256, agent_id, 1, 4, json_build_object('fingerprint', fingerprint_sha256)
  FROM due
ON CONFLICT (type, subject) DO NOTHING
RETURNING id;

-- History in partitions, one a month, made ahead; what is older than a year goes.
-- name: loop_partitions
SELECT job_history_partitions();

-- After the clock was set back nothing waits for a time that was set before: what is
-- ahead comes nearer by as much, and some of it early.
-- name: loop_clock
WITH back AS (
    SELECT seen_at - now() AS by FROM clock WHERE seen_at > now() + interval '1 minute'
), seen AS (
    UPDATE clock SET seen_at = now()
), job AS (
    UPDATE jobs SET scheduled_at = least(scheduled_at, greatest(now(), scheduled_at - by)), lease_until = least(lease_until, now() + interval '1 hour')
      FROM back WHERE scheduled_at > now() OR lease_until > now() + interval '1 hour'
), agent AS (
    UPDATE agents SET next_poll_at = greatest(now(), next_poll_at - by), last_heartbeat_at = least(last_heartbeat_at, now())
      FROM back WHERE next_poll_at > now()
), certificate AS (
    UPDATE managed_certificates SET next_retry_at = greatest(now(), next_retry_at - by) FROM back WHERE next_retry_at > now()
), staple AS (
    UPDATE ocsp_staples SET refresh_at = greatest(now(), refresh_at - by) FROM back WHERE refresh_at > now()
), account AS (
    UPDATE issuer_accounts SET paused_until = paused_until - by, locked_until = locked_until - by FROM back
     WHERE paused_until > now() OR locked_until > now()
), waiting AS (
    UPDATE orders SET next_at = greatest(now(), next_at - by) FROM back WHERE next_at > now()
)
SELECT by FROM back;
