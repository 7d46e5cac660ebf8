-- Issuers as state machines: what each step has learnt, challenges on hosts, the
-- account at the CA, and which issuer a job occupies.

-- ca_state is the connector's own and holds nothing secret.
ALTER TABLE orders
    DROP COLUMN external_ref,
    ADD COLUMN ca_state    jsonb,
    ADD COLUMN steps       int NOT NULL DEFAULT 0,
    ADD COLUMN failures    int NOT NULL DEFAULT 0,     -- temporary ones, since the last step
    ADD COLUMN next_at     timestamptz,                -- when the next step is due
    ADD COLUMN deadline    timestamptz NOT NULL DEFAULT now() + interval '7 days',
    ADD COLUMN last_error  text,
    ADD COLUMN problem     jsonb;                      -- the CA's own words (RFC 9457)

-- account is sealed. The order that changes it is named in order_id; another order
-- can have it when that one gives it back or locked_until has passed.
CREATE TABLE issuer_accounts (
    issuer_id     text PRIMARY KEY REFERENCES issuers ON DELETE CASCADE,
    account       text,
    order_id      text,
    locked_until  timestamptz,
    paused_until  timestamptz,
    pause_reason  text
);

-- One challenge on one host. 'placing' is stored before the host is told, the row
-- goes when the host has deleted it: what a host may have is always listed here.
CREATE TABLE challenges (
    id          text PRIMARY KEY DEFAULT new_id('ch-'),
    order_id    text NOT NULL,
    agent_id    text NOT NULL REFERENCES agents ON DELETE CASCADE,
    type        text NOT NULL CONSTRAINT challenge_type CHECK (type IN ('http-01', 'tls-alpn-01')),
    name        text NOT NULL,
    value       text NOT NULL,
    state       text NOT NULL DEFAULT 'planned' CONSTRAINT challenge_state CHECK (state IN ('planned', 'placing', 'placed', 'leaving')),
    placed_at   timestamptz,
    created_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT challenge_order_key UNIQUE (order_id, agent_id, type, name)
);
-- A host has one challenge of a name: a second order waits for the first.
CREATE UNIQUE INDEX challenge_host_key ON challenges (agent_id, type, name) WHERE state <> 'planned';

-- Those that no order needs: given up, or of an order that no job works on.
CREATE VIEW challenges_left AS
SELECT h.* FROM challenges h
 WHERE h.state = 'leaving'
    OR NOT EXISTS (SELECT FROM orders o JOIN jobs j ON j.attempt_id = o.attempt_id AND j.type IN ('Renewal', 'Issuance')
                    WHERE o.id = h.order_id AND o.state = 'ready');

ALTER TABLE jobs ADD COLUMN issuer_id text NOT NULL DEFAULT '';

CREATE FUNCTION certificate_issuer(p_certificate_id text) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT coalesce(p.issuer_id, c.issuer_id)
  FROM managed_certificates c LEFT JOIN LATERAL policy_of(c.renewal_policy_id, c.organization_id) p ON true
 WHERE c.id = p_certificate_id
$$;

UPDATE jobs SET issuer_id = coalesce(certificate_issuer(certificate_id), '') WHERE type IN ('Issuance', 'Renewal', 'Revocation');

CREATE FUNCTION job_issuer() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.issuer_id := coalesce(certificate_issuer(NEW.certificate_id), ''); RETURN NEW; END $$;
CREATE TRIGGER job_issuer BEFORE INSERT ON jobs
    FOR EACH ROW WHEN (NEW.type IN ('Issuance', 'Renewal', 'Revocation')) EXECUTE FUNCTION job_issuer();

CREATE INDEX jobs_issuer ON jobs (issuer_id, priority DESC, scheduled_at) WHERE status = 'Pending';

-- The issuers whose jobs a process may claim now, with how many of them it is
-- running; '' are jobs that need no issuer. All issuers together get p_slots of
-- the process, one alone leaves a slot to the others.
CREATE FUNCTION job_lanes(p_process text, p_slots int) RETURNS TABLE (issuer_id text, running bigint) LANGUAGE sql STABLE AS
$$
WITH busy AS (
    SELECT j.issuer_id, count(*) AS n FROM jobs j
     WHERE j.status = 'Running' AND j.issuer_id <> '' AND starts_with(j.worker, p_process) GROUP BY 1
)
SELECT '', 0::bigint
UNION ALL
SELECT i.id, coalesce(b.n, 0)
  FROM issuers i LEFT JOIN busy b ON b.issuer_id = i.id LEFT JOIN issuer_accounts a ON a.issuer_id = i.id
 WHERE (SELECT coalesce(sum(n), 0) FROM busy) < p_slots AND coalesce(b.n, 0) < greatest(1, p_slots - 1)
   AND (a.paused_until IS NULL OR a.paused_until <= now())
$$;

-- The next job: by priority, which counts less for each job of the same issuer
-- that is running. The second look at the slots is behind a lock, so that two
-- threads of a process do not both take the last one.
CREATE FUNCTION job_claim(p_lease int, p_worker text, p_process text, p_slots int) RETURNS SETOF jobs LANGUAGE plpgsql AS
$$
DECLARE
    head    record;
    passed  text[] := '{}';
BEGIN
    LOOP
        SELECT j.id, l.issuer_id INTO head
          FROM job_lanes(p_process, p_slots) l,
               LATERAL (SELECT p.id, p.priority, p.scheduled_at FROM jobs p
                         WHERE p.status = 'Pending' AND p.scheduled_at <= now() AND p.issuer_id = l.issuer_id
                         ORDER BY p.priority DESC, p.scheduled_at FOR UPDATE SKIP LOCKED LIMIT 1) j
         WHERE l.issuer_id <> ALL (passed)
         ORDER BY j.priority / (l.running + 1.0) DESC, j.scheduled_at
         LIMIT 1;

        IF NOT FOUND THEN
            RETURN;
        END IF;

        EXIT WHEN head.issuer_id = '';
        PERFORM pg_advisory_xact_lock(hashtext('job_claim'), hashtext(p_process));
        EXIT WHEN EXISTS (SELECT FROM job_lanes(p_process, p_slots) l WHERE l.issuer_id = head.issuer_id);
        passed := passed || head.issuer_id;
    END LOOP;

    RETURN QUERY
    UPDATE jobs j SET status = 'Running', attempts = attempts + 1, epoch = epoch + 1, lease_until = now() + make_interval(secs => p_lease),
           worker = p_worker, started_at = coalesce(started_at, now())
     WHERE j.id = head.id
    RETURNING j.*;
END
$$;
