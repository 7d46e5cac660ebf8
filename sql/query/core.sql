-- Statements of core/: renewal, orders, deployment, revocation, agents, inventory.

-- name: audit_add
INSERT INTO audit_events (actor, actor_type, action, resource_type, resource_id, details, event_category)
VALUES ($1, $2, $3, $4, $5, coalesce($6::jsonb, '{}'), $7);

-- name: issuer_load
SELECT type, config::text, secrets, enabled FROM issuers WHERE id = $1;

-- name: issuer_store
INSERT INTO issuers (id, name, type, config, secrets, enabled, source)
VALUES (coalesce($1, new_id('iss-')), $2, $3, $4::jsonb, $5, coalesce($6::boolean, true), coalesce($7, 'api'))
ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config, secrets = excluded.secrets, enabled = excluded.enabled
RETURNING id;

-- name: issuer_exists
SELECT id FROM issuers WHERE id = $1;

-- What renewal_request needs to decide, the row locked against a second request.
-- name: renewal_facts
SELECT c.status, c.expires_at::text, p.method, p.max_retries,
       (SELECT count(*) FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
         WHERE m.certificate_id = c.id AND t.enabled AND t.retired_at IS NULL) AS targets,
       (SELECT string_agg(j.id, ',') FROM jobs j WHERE j.certificate_id = c.id AND j.type IN ('Renewal', 'Issuance')) AS open_job,
       EXISTS (SELECT FROM certificate_versions v WHERE v.certificate_id = c.id) AS issued,
       coalesce(renewal_refusal(c, p), certificate_rule(c, p)) AS refusal, l.issued AS issued_today, l.allowed, l.wait
  FROM issuance_allowed($1, NULL, $2::int) l, managed_certificates c LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
 WHERE c.id = $1
   FOR UPDATE OF c;

-- name: renewal_attempt
WITH superseded AS (
    UPDATE renewal_attempts SET status = 'superseded', completed_at = now()
     WHERE certificate_id = $1 AND status IN ('pending', 'in_progress', 'awaiting_change_approval')
)
INSERT INTO renewal_attempts (certificate_id, method, requested_by, old_expiry, override_limit)
VALUES ($1, $2, $3, $4::timestamptz, $5::boolean)
RETURNING id;

-- A person waits for it: before everything else.
-- name: renewal_job
WITH job AS (
    INSERT INTO jobs (type, subject, certificate_id, attempt_id, max_attempts, priority, requested_by)
    VALUES ($1, $2, $2, $3, greatest(1, $4::int), 30, $5)
    RETURNING id, attempt_id
), linked AS (
    UPDATE renewal_attempts a SET job_id = job.id FROM job WHERE a.id = job.attempt_id
)
SELECT id FROM job;

-- next_retry_at stays: it is the schedule's, and this renewal was asked for.
-- name: renewal_mark
UPDATE managed_certificates SET status = 'RenewalInProgress' WHERE id = $1;

-- An order that the CA knows stays: a revocation of the certificate asks for it.
-- name: renewal_cancel_open
SELECT certificate_stop($1, 'a forced renewal took its place', 'superseded', true);

-- One order for each target; a repeated step finds those of the step before. The
-- issuer is the certificate's, else the one that the policy named when it was asked for.
-- name: order_plan
INSERT INTO orders (attempt_id, certificate_id, target_id, issuer_id, key_type, sans, must_staple)
SELECT a.id, c.id, t.id, coalesce(c.issuer_id, nullif(j.issuer_id, ''), p.issuer_id), c.key_type, certificate_sans_text(c.common_name, c.sans),
       coalesce(f.must_staple, false)
  FROM renewal_attempts a
  JOIN jobs j ON j.id = $2
  JOIN managed_certificates c ON c.id = a.certificate_id
  JOIN certificate_target_mappings m ON m.certificate_id = c.id AND m.place IS NOT NULL
  JOIN deployment_targets t ON t.id = m.target_id AND t.enabled AND t.retired_at IS NULL
  LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
  LEFT JOIN certificate_profiles f ON f.id = coalesce(c.certificate_profile_id, p.certificate_profile_id)
 WHERE a.id = $1
ON CONFLICT DO NOTHING;

-- name: order_list
SELECT o.id, o.state, o.issuer_id, o.target_id, o.key_type, o.sans, o.must_staple, o.csr_pem, o.serial_number,
       extract(epoch FROM o.not_before)::bigint AS not_before, extract(epoch FROM o.not_after)::bigint AS not_after,
       o.ca_state::text AS ca_state, extract(epoch FROM o.deadline)::bigint AS deadline, o.failures, o.last_error,
       ceil(greatest(0, extract(epoch FROM o.next_at - now())))::bigint AS wait,
       EXISTS (SELECT FROM challenges h WHERE h.order_id = o.id) AS challenged, t.type AS target_type, t.config::text AS target_config, t.agent_id, c.name AS certificate_name,
       c.common_name
  FROM orders o
  JOIN managed_certificates c ON c.id = o.certificate_id
  JOIN deployment_targets t ON t.id = o.target_id
 WHERE o.attempt_id = $1
 ORDER BY o.id;

-- How long a certificate may live: the profile's bound.
-- name: order_lifetime
SELECT coalesce((SELECT f.max_ttl_seconds FROM managed_certificates c
                   LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
                   JOIN certificate_profiles f ON f.id = coalesce(c.certificate_profile_id, p.certificate_profile_id)
                  WHERE c.id = $1), 7776000);

-- The begin of the validity that an order's certificate takes the place of, in
-- seconds: of its versions there, and of what the host serves for its names.
-- name: order_replaces
SELECT coalesce(extract(epoch FROM greatest(
           c.not_before,
           (SELECT max(v.not_before) FROM certificate_versions v WHERE v.certificate_id = c.id AND v.target_id = t.id),
           (SELECT max(d.not_before) FROM discovered_certificates d
             WHERE d.agent_id = t.agent_id AND d.is_leaf AND d.source <> 'placeholder'
               AND (d.managed_certificate_id = c.id OR d.server_names && array_prepend(c.common_name, c.sans)))))::bigint, 0)
  FROM managed_certificates c, deployment_targets t WHERE c.id = $1 AND t.id = $2;

-- The daily limit, counted by attempt over all targets: against loops of what is
-- issued and cannot be delivered.
-- name: order_limit
SELECT issued, allowed, wait FROM issuance_allowed($1, $2, $3::int);

-- Why the policy of now does not let this issuer renew. What is ordered already, and
-- a policy that was deleted meanwhile, stop nothing.
-- name: order_refusal
SELECT method_refusal(p.method, p.id, coalesce(c.issuer_id, nullif(j.issuer_id, '')))
  FROM managed_certificates c, policy_of(c.renewal_policy_id, c.organization_id) p, jobs j
 WHERE c.id = $1 AND j.id = $2 AND NOT EXISTS (SELECT FROM orders o WHERE o.attempt_id = j.attempt_id);

-- name: order_attempt_started
UPDATE renewal_attempts SET status = 'in_progress', started_at = coalesce(started_at, now()), job_id = $2
 WHERE id = $1 AND status IN ('pending', 'in_progress', 'failed');

-- Intent before act: request, serial and validity are stored, then the CA is asked.
-- name: order_ready
UPDATE orders SET state = 'ready', csr_pem = $2, serial_number = $3, not_before = to_timestamp($4::bigint), not_after = to_timestamp($5::bigint)
 WHERE id = $1 AND state = 'new'
RETURNING id;

-- name: order_issued
WITH version AS (
    INSERT INTO certificate_versions (certificate_id, issuer_id, target_id, order_id, serial_number, not_before, not_after,
                                      fingerprint_sha256, spki_sha256, pem_chain, csr_pem, key_algorithm, key_size)
    SELECT o.certificate_id, o.issuer_id, o.target_id, o.id, $2, to_timestamp($3::bigint), to_timestamp($4::bigint),
           $5, $6, $7, o.csr_pem, $8, $9::int
      FROM orders o WHERE o.id = $1
    RETURNING id, order_id, certificate_id, target_id, not_after
), done AS (
    UPDATE orders o SET state = 'issued', version_id = v.id FROM version v WHERE o.id = v.order_id
    RETURNING o.attempt_id
)
INSERT INTO jobs (type, subject, certificate_id, target_id, version_id, attempt_id, agent_id, priority, max_attempts, requested_by)
SELECT 'Deployment', v.certificate_id || '/' || v.target_id, v.certificate_id, v.target_id, v.id, d.attempt_id, t.agent_id, 25, 5, $10
  FROM version v, done d, deployment_targets t WHERE t.id = v.target_id
ON CONFLICT (type, subject) DO UPDATE SET version_id = excluded.version_id, attempt_id = excluded.attempt_id,
      status = 'Pending', epoch = jobs.epoch + 1, attempts = 0, scheduled_at = now(), lease_until = NULL
RETURNING version_id;

-- With the last order of its attempt a certificate is renewed; what the audit event
-- says, or no row while others of its orders are open.
-- name: certificate_renewed
UPDATE managed_certificates c SET last_renewal_at = now()
  FROM orders o
 WHERE o.id = $1 AND c.id = o.certificate_id AND c.status NOT IN ('Revoked', 'Archived')
   AND NOT EXISTS (SELECT FROM orders r WHERE r.attempt_id = o.attempt_id AND r.state IN ('new', 'ready'))
RETURNING (SELECT json_build_object('attempt_id', o.attempt_id, 'issuer_id', o.issuer_id, 'versions', json_agg(json_build_object(
                      'id', v.id, 'target_id', v.target_id, 'serial_number', v.serial_number, 'not_after', v.not_after) ORDER BY v.target_id))
             FROM orders r JOIN certificate_versions v ON v.order_id = r.id
            WHERE r.attempt_id = o.attempt_id)::text AS details;

-- What a person asked for, and what no connector serves ($3), leaves the schedule
-- as it is: its failures and its next try.
-- name: attempt_failed
WITH attempt AS (
    UPDATE renewal_attempts SET status = 'failed', error = $2, completed_at = now()
     WHERE id = $1 AND status IN ('pending', 'in_progress')
    RETURNING certificate_id, requested_by = 'system' AND NOT $3::boolean AS scheduled
)
UPDATE managed_certificates c
   SET consecutive_failures = c.consecutive_failures + a.scheduled::int,
       next_retry_at = CASE WHEN a.scheduled THEN now() + retry_wait(c.consecutive_failures + 1, c.expires_at) ELSE c.next_retry_at END,
       status = CASE WHEN c.status IN ('Revoked', 'Archived') THEN c.status
                     WHEN c.expires_at IS NULL THEN 'Failed' ELSE status_by_date(c.not_before, c.expires_at) END
  FROM attempt a WHERE c.id = a.certificate_id
RETURNING c.id, c.next_retry_at::text;

-- name: deployment_facts
SELECT v.id, v.pem_chain, v.fingerprint_sha256, v.issuer_id, v.serial_number, t.id AS target_id, t.type, t.config::text AS config, t.agent_id,
       c.common_name, c.name, certificate_sans_text(c.common_name, c.sans) AS sans, c.status,
       (SELECT n.id FROM certificate_versions n WHERE n.certificate_id = v.certificate_id AND n.target_id IS NOT DISTINCT FROM t.id
         ORDER BY n.created_at DESC LIMIT 1) AS newest
  FROM certificate_versions v
  JOIN managed_certificates c ON c.id = v.certificate_id
  JOIN deployment_targets t ON t.id = $2
  JOIN certificate_target_mappings m ON m.certificate_id = c.id AND m.target_id = t.id AND m.place IS NOT NULL
 WHERE v.id = $1;

-- The target shows the version: the order is deployed; with its last order the
-- attempt is completed and the certificate Active, unless another renewal is open.
-- name: deployment_done
WITH version AS (
    SELECT id, certificate_id, not_before, not_after FROM certificate_versions WHERE id = $1
), deployed AS (
    UPDATE orders o SET state = 'deployed' WHERE o.version_id = $1 RETURNING o.attempt_id, o.id, o.sans, o.key_type
), rest AS (
    SELECT d.attempt_id, d.sans, d.key_type, NOT EXISTS (SELECT FROM orders o WHERE o.attempt_id = d.attempt_id AND o.id <> d.id AND o.state NOT IN ('deployed', 'failed')) AS last
      FROM deployed d
), attempt AS (
    UPDATE renewal_attempts a SET status = 'completed', completed_at = now(), new_expiry = v.not_after
      FROM rest r, version v WHERE a.id = r.attempt_id AND r.last AND a.status IN ('pending', 'in_progress', 'failed')
)
UPDATE managed_certificates c
   SET last_deployment_at = now(), expires_at = v.not_after, not_before = v.not_before,
       consecutive_failures = 0, next_retry_at = NULL,
       deployed_names = coalesce((SELECT sans FROM rest WHERE last), deployed_names),
       deployed_key_type = coalesce((SELECT key_type FROM rest WHERE last), deployed_key_type),
       status = CASE WHEN c.status IN ('Revoked', 'Archived') OR NOT coalesce((SELECT last FROM rest), true) THEN c.status
                     WHEN EXISTS (SELECT FROM jobs j WHERE j.certificate_id = c.id AND j.type IN ('Renewal', 'Issuance')
                                     AND j.attempt_id IS DISTINCT FROM (SELECT attempt_id FROM rest)) THEN c.status
                     ELSE status_by_date(v.not_before, v.not_after) END
  FROM version v WHERE c.id = v.certificate_id
RETURNING c.id, c.status;

-- Newest version of each mapped target (or of one), as Deployment jobs.
-- name: deployment_request
INSERT INTO jobs (type, subject, certificate_id, target_id, version_id, agent_id, priority, max_attempts, requested_by)
SELECT 'Deployment', m.certificate_id || '/' || m.target_id, m.certificate_id, m.target_id, v.id, t.agent_id, 25, 5, $3
  FROM certificate_target_mappings m
  JOIN deployment_targets t ON t.id = m.target_id AND t.enabled AND t.retired_at IS NULL
  JOIN LATERAL (SELECT n.id FROM certificate_versions n WHERE n.certificate_id = m.certificate_id AND n.target_id = m.target_id
                 ORDER BY n.created_at DESC LIMIT 1) v ON true
 WHERE m.certificate_id = $1 AND m.place IS NOT NULL AND ($2::text IS NULL OR m.target_id = $2)
ON CONFLICT (type, subject) DO NOTHING
RETURNING id;

-- name: deployment_open
SELECT count(*) AS targets, count(*) FILTER (WHERE t.enabled AND t.retired_at IS NULL) AS enabled,
       (SELECT count(*) FROM jobs j WHERE j.certificate_id = $1 AND j.type IN ('Deployment', 'Renewal', 'Issuance')) AS open_jobs
  FROM certificate_target_mappings m JOIN deployment_targets t ON t.id = m.target_id
 WHERE m.certificate_id = $1 AND ($2::text IS NULL OR m.target_id = $2);

-- Whether an action may happen to it: locked, so that its state stays.
-- name: certificate_status
SELECT status FROM managed_certificates WHERE id = $1 FOR UPDATE;

-- Before the certificate: whoever works on a job locks the job first.
-- name: certificate_jobs_lock
SELECT id FROM jobs WHERE certificate_id = $1 AND type IN ('Issuance', 'Renewal', 'Deployment') ORDER BY id FOR UPDATE;

-- name: certificate_stop
SELECT certificate_stop($1, $2, 'failed', $3::boolean);

-- Every version that could still be used; an order that its CA knows is asked for
-- until it ends.
-- name: revocation_record
WITH revoked AS (
    INSERT INTO certificate_revocations (certificate_id, issuer_id, serial_number, reason, reason_code, not_after, revoked_by)
    SELECT v.certificate_id, v.issuer_id, v.serial_number, $2, $3::int, v.not_after, $4
      FROM certificate_versions v WHERE v.certificate_id = $1 AND v.not_after > now()
    ON CONFLICT (issuer_id, serial_number) DO NOTHING
    RETURNING serial_number
), job AS (
    INSERT INTO jobs (type, subject, certificate_id, priority, requested_by)
    SELECT 'Revocation', $1, $1, 28, $4
     WHERE EXISTS (SELECT FROM revoked) OR EXISTS (SELECT FROM orders o WHERE o.certificate_id = $1 AND o.state = 'ready')
    ON CONFLICT (type, subject) DO NOTHING
)
UPDATE managed_certificates SET status = 'Revoked', revoked_at = now(), revocation_reason = $2, revocation_code = $3::int WHERE id = $1;

-- What the answer of revoke lists.
-- name: revocation_answer
SELECT json_build_object(
    'status', 'revoked',
    'serials', (SELECT coalesce(json_agg(x ORDER BY x.not_before DESC, x.serial_number), '[]')
                  FROM (SELECT v.issuer_id, v.serial_number, v.id AS version_id, v.target_id, v.not_before, v.not_after,
                               v.fingerprint_sha256, r.reason, r.revoked_at
                          FROM certificate_versions v JOIN certificate_revocations r USING (issuer_id, serial_number)
                         WHERE v.certificate_id = $1 AND v.not_after > now()) x),
    'open_orders', (SELECT coalesce(json_agg(o.id ORDER BY o.id), '[]') FROM orders o WHERE o.certificate_id = $1 AND o.state = 'ready'));

-- Serials that their CA has not been told of.
-- name: revocation_pending
SELECT r.issuer_id, r.serial_number, r.reason_code, v.pem_chain FROM certificate_revocations r
  JOIN certificate_versions v USING (issuer_id, serial_number) WHERE r.certificate_id = $1 AND NOT r.issuer_notified;

-- name: revocation_notified
UPDATE certificate_revocations SET issuer_notified = true WHERE issuer_id = $1 AND serial_number = $2;

-- name: agent_link
SELECT a.id, a.url, a.fingerprint, a.trust_first_use, a.enrolled_at IS NOT NULL AS enrolled, a.status, a.report_etag, a.probe_address,
       a.enrolled_at IS NOT NULL AND (a.identity_expires_at <= now() OR a.identity_ca NOT IN (SELECT fingerprint FROM trusted_authorities)) AS lapsed,
       t.id AS authority, t.fingerprint AS authority_fingerprint, t.certificate AS authority_pem,
       (SELECT json_agg(fingerprint ORDER BY place)::text FROM trusted_authorities) AS cas, now()::text AS read_at,
       EXISTS (SELECT FROM certificate_target_mappings m WHERE m.agent_id = a.id AND m.live_due) AS live_due,
       a.recovery_by IS NOT NULL AS recovers
  FROM agents a JOIN authorities t ON t.id = authority_for(a.trusted_cas) WHERE a.id = $1;

-- name: agent_enrol_job
INSERT INTO jobs (type, subject, agent_id, max_attempts, priority, requested_by)
VALUES ('Enrolment', $1, $1, 10, 30, $2)
ON CONFLICT (type, subject) DO NOTHING;

-- name: agent_enrolled
UPDATE agents SET enrolled_at = now(), status = 'Online', fingerprint = $2, identity_expires_at = to_timestamp($3::bigint),
       identity_ca = (SELECT fingerprint FROM authorities WHERE authorities.id = $4),
       last_heartbeat_at = now(), last_error = NULL, next_poll_at = now(), poll_failures = 0, report_etag = NULL
 WHERE id = $1 AND status <> 'Retired'
RETURNING id;

-- name: agent_failed
UPDATE agents SET last_error = $2, poll_failures = poll_failures + 1,
       status = CASE WHEN status = 'Online' AND poll_failures >= 1 THEN 'Offline' ELSE status END
 WHERE id = $1;

-- Seen alive. One that returns has its failed renewals tried again at once.
-- name: agent_seen
WITH before AS (
    SELECT id, status FROM agents WHERE id = $1
), retried AS (
    UPDATE managed_certificates c SET next_retry_at = now()
      FROM before b, certificate_target_mappings m, deployment_targets t
     WHERE b.status = 'Offline' AND t.agent_id = b.id AND m.target_id = t.id AND c.id = m.certificate_id AND c.next_retry_at > now()
)
UPDATE agents a SET status = 'Online', last_heartbeat_at = now(), last_error = NULL, poll_failures = 0,
       version = coalesce($2::jsonb->>'version', version), hostname = coalesce($2::jsonb->>'host', hostname),
       os = coalesce($2::jsonb->>'os', os), architecture = coalesce($2::jsonb->>'architecture', architecture),
       nginx_version = coalesce($2::jsonb->>'nginx', nginx_version), openssl_version = coalesce($2::jsonb->>'openssl', openssl_version),
       workers = coalesce(($2::jsonb->>'workers')::int, workers), report_etag = coalesce($3, report_etag),
       trusted_cas = coalesce((SELECT array_agg(v ORDER BY v) FROM jsonb_array_elements_text($2::jsonb#>'{trust,all}') v), trusted_cas)
  FROM before WHERE a.id = before.id AND a.status <> 'Retired'
RETURNING a.id;

-- A page of a report, as parsed from the PEM of each served certificate: rows come
-- and stay; certificates of ours are known by fingerprint.
-- name: inventory_store
WITH seen AS (
    SELECT DISTINCT ON (s.fingerprint, s.place)
           s.*, (SELECT v.certificate_id FROM certificate_versions v WHERE v.fingerprint_sha256 = s.fingerprint) AS managed
      FROM jsonb_to_recordset($2::jsonb) AS s(fingerprint text, place text, source text, server_names text[], listen text[], record text,
           served_names text[], why text, common_name text, sans text[], serial text, issuer text, subject text, not_before bigint, not_after bigint,
           key_algorithm text, key_size int, is_ca boolean, has_private_key boolean, must_staple boolean, staple text,
           staple_next_update bigint, ocsp_url text, pem text)
), stored AS (
    INSERT INTO discovered_certificates AS d (fingerprint_sha256, agent_id, place, source, server_names, listen, record, common_name, sans,
           serial_number, issuer_dn, subject_dn, not_before, not_after, key_algorithm, key_size, is_ca, is_leaf, has_private_key, must_staple,
           staple, staple_next_update, ocsp_url, pem_data, discovery_scan_id, managed_certificate_id, status, expiry_status, days_until_expiry,
           served_names, why, names_read_at)
    SELECT s.fingerprint, $1, s.place, s.source, s.server_names, s.listen, s.record, s.common_name, s.sans,
           s.serial, s.issuer, s.subject, to_timestamp(s.not_before), to_timestamp(s.not_after), s.key_algorithm, s.key_size, s.is_ca, NOT s.is_ca,
           s.has_private_key, s.must_staple, s.staple, to_timestamp(s.staple_next_update), s.ocsp_url, s.pem, $3, s.managed,
           CASE WHEN s.managed IS NULL THEN 'Unmanaged' ELSE 'Managed' END,
           expiry_status(to_timestamp(s.not_before), to_timestamp(s.not_after), now()),
           floor((s.not_after - extract(epoch FROM now())) / 86400)::int, coalesce(s.served_names, '{}'), coalesce(s.why, ''), now()
      FROM seen s
    ON CONFLICT (fingerprint_sha256, agent_id, place) DO UPDATE
       SET source = excluded.source, server_names = excluded.server_names, listen = excluded.listen, record = excluded.record,
           has_private_key = excluded.has_private_key, staple = excluded.staple, staple_next_update = excluded.staple_next_update,
           discovery_scan_id = excluded.discovery_scan_id, last_seen_at = now(), expiry_status = excluded.expiry_status,
           days_until_expiry = excluded.days_until_expiry, served_names = excluded.served_names, why = excluded.why,
           names_read_at = excluded.names_read_at,
           managed_certificate_id = coalesce(d.managed_certificate_id, excluded.managed_certificate_id),
           status = CASE WHEN d.status = 'Unmanaged' THEN excluded.status ELSE d.status END
    RETURNING id
), staples AS (
    INSERT INTO ocsp_staples (agent_id, fingerprint_sha256)
    SELECT DISTINCT $1, s.fingerprint FROM seen s WHERE s.ocsp_url <> '' AND s.source IN ('store', 'static') AND s.staple <> 'not_applicable'
    ON CONFLICT (agent_id, fingerprint_sha256) DO NOTHING
)
SELECT count(*) FROM stored;

-- A compact page: how many of its certificates are not what was seen before. When
-- none is, their rows are seen again; else nothing changes. A row's place is
-- "file:line name key type".
-- name: inventory_known
WITH entry AS (
    SELECT fingerprint, coalesce(name, '') AS record, source, coalesce(line, 0) AS line, count(*) AS n,
           max(staple) AS staple, max(staple_next_update) AS staple_next_update
      FROM jsonb_to_recordset($2::jsonb) AS s(fingerprint text, name text, source text, line int, staple text, staple_next_update bigint)
     GROUP BY 1, 2, 3, 4
), known AS (
    SELECT d.id, e.*
      FROM entry e JOIN discovered_certificates d
        ON d.fingerprint_sha256 = e.fingerprint AND d.agent_id = $1 AND coalesce(d.record, '') = e.record AND d.source = e.source
       AND substring(d.place FROM ':([0-9]{1,9}) [^ ]* [^ ]*$')::int = e.line
), odd AS (
    SELECT fingerprint FROM entry e WHERE n <> (SELECT count(*) FROM known r WHERE (r.fingerprint, r.record, r.source, r.line) = (e.fingerprint, e.record, e.source, e.line))
), again AS (
    UPDATE discovered_certificates d
       SET last_seen_at = now(), discovery_scan_id = $3, staple = r.staple, staple_next_update = to_timestamp(r.staple_next_update)
      FROM known r WHERE d.id = r.id AND NOT EXISTS (SELECT FROM odd)
)
SELECT count(*) FROM odd;

-- What a walk has not seen is gone, and its staples.
-- name: inventory_end
WITH found AS (
    SELECT count(*) AS n, count(*) FILTER (WHERE first_seen_at = last_seen_at) AS fresh
      FROM discovered_certificates WHERE agent_id = $1 AND discovery_scan_id = $2
), scan AS (
    INSERT INTO discovery_scans (id, agent_id, directories, certificates_found, certificates_new, scan_duration_ms, completed_at)
    SELECT $2, $1, '{live}', n, fresh, $3::int, now() FROM found
), gone AS (
    DELETE FROM discovered_certificates WHERE agent_id = $1 AND discovery_scan_id IS DISTINCT FROM $2
)
DELETE FROM ocsp_staples o WHERE o.agent_id = $1
   AND NOT EXISTS (SELECT FROM discovered_certificates d
                    WHERE d.fingerprint_sha256 = o.fingerprint_sha256 AND d.agent_id = $1 AND d.discovery_scan_id = $2);

-- name: discovered_get
SELECT d.id, d.agent_id, d.place, d.common_name, d.sans::text AS sans, d.record, d.source, d.status, d.managed_certificate_id, d.is_ca,
       d.server_names[1] AS server_name
  FROM discovered_certificates d WHERE d.id = $1 FOR UPDATE;

-- A managed certificate of the observed one's names, keeping its validity so that
-- the policy's window counts from what is live. A commonName that is none of its
-- names is a text for people: clients do not read it (RFC 9525 6.3). A policy that
-- supplies the issuer goes on supplying it.
-- name: adoption_certificate
INSERT INTO managed_certificates (name, common_name, sans, issuer_id, status, expires_at, not_before, source, key_type, organization_id)
SELECT coalesce($2, d.sans[1], d.server_names[1]),
       coalesce((SELECT n FROM unnest(d.sans) n WHERE lower(n) = lower(d.common_name) LIMIT 1), d.sans[1], nullif(d.common_name, ''), d.server_names[1]), d.sans,
       CASE WHEN NOT EXISTS (SELECT FROM policy_of(NULL, a.organization_id) p JOIN renewal_methods m ON m.method = p.method
                              WHERE p.issuer_id IS NOT NULL OR m.issuer_type IS NOT NULL)
            THEN (SELECT i.id FROM issuers i WHERE i.enabled ORDER BY i.id = 'iss-local' DESC, i.created_at LIMIT 1) END,
       status_by_date(d.not_before, d.not_after), d.not_after, d.not_before, 'Discovery',
       CASE WHEN d.key_algorithm IN ('ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519') THEN d.key_algorithm ELSE 'ec-p256' END, a.organization_id
  FROM discovered_certificates d JOIN agents a ON a.id = d.agent_id WHERE d.id = $1
RETURNING id;

-- name: adoption_target
INSERT INTO deployment_targets (name, agent_id, type, config, source)
SELECT a.name || ': ' || $2, a.id, 'nginx-module', jsonb_build_object('record', $2::text), 'discovery'
  FROM agents a WHERE a.id = $1
ON CONFLICT (name) WHERE retired_at IS NULL DO UPDATE SET enabled = true
RETURNING id;

-- The place may be the certificate's already, by another target.
-- name: adoption_map
INSERT INTO certificate_target_mappings (certificate_id, target_id)
SELECT c.id, t.id
  FROM managed_certificates c, deployment_targets t
 WHERE c.id = $1 AND t.id = $2
   AND NOT EXISTS (SELECT FROM certificate_target_mappings m
                    WHERE m.certificate_id = c.id AND m.agent_id = t.agent_id AND m.place = target_place(t.type, t.config, c.id, c.common_name))
ON CONFLICT (certificate_id, target_id) DO NOTHING;

-- name: adoption_link
UPDATE discovered_certificates SET managed_certificate_id = $2, status = 'Managed', dismissed_at = NULL
 WHERE fingerprint_sha256 = (SELECT fingerprint_sha256 FROM discovered_certificates WHERE id = $1)
   AND agent_id = (SELECT agent_id FROM discovered_certificates WHERE id = $1)
RETURNING id;

-- name: staple_facts
SELECT d.pem_data, d.ocsp_url, v.issuer_id, v.serial_number,
       extract(epoch FROM r.revoked_at)::bigint AS revoked_at, r.reason_code
  FROM discovered_certificates d
  LEFT JOIN certificate_versions v ON v.fingerprint_sha256 = d.fingerprint_sha256
  LEFT JOIN certificate_revocations r ON r.issuer_id = v.issuer_id AND r.serial_number = v.serial_number
 WHERE d.agent_id = $1 AND d.fingerprint_sha256 = $2
 LIMIT 1;

-- name: staple_pushed
INSERT INTO ocsp_staples AS s (agent_id, fingerprint_sha256, this_update, next_update, refresh_at, pushed_at, failures, last_error)
VALUES ($1, $2, to_timestamp($3::bigint), to_timestamp($4::bigint),
        to_timestamp($3::bigint + ($4::bigint - $3::bigint) * (0.5 - random() * 0.05)), now(), 0, NULL)
ON CONFLICT (agent_id, fingerprint_sha256) DO UPDATE
   SET this_update = excluded.this_update, next_update = excluded.next_update, refresh_at = excluded.refresh_at,
       pushed_at = now(), failures = 0, last_error = NULL;

-- Again after half a minute, doubling up to an hour.
-- name: staple_failed
UPDATE ocsp_staples SET failures = failures + 1, last_error = $3,
       refresh_at = now() + least(interval '1 hour', interval '30 seconds' * power(2, least(failures, 8)))
 WHERE agent_id = $1 AND fingerprint_sha256 = $2;

-- A good look at an agent soon, after something has changed on it.
-- name: agent_look
INSERT INTO jobs (type, subject, agent_id, max_attempts, priority) VALUES ('Discovery', $1, $1, 1, 6)
ON CONFLICT (type, subject) DO NOTHING;

-- name: new_id
SELECT new_id($1);

-- name: agent_pin
UPDATE agents SET fingerprint = $2 WHERE id = $1 AND fingerprint IS NULL;

-- name: issuer_enabled
SELECT id, name FROM issuers WHERE enabled ORDER BY id;
