-- The fleet CA is replaced while hosts and API clients trust two of them.
--
--   next      hosts learn it; nothing is signed with it
--   current   signs identities of hosts, and the controller's for hosts that trust it
--   previous  trusted still; signs for hosts that do not trust the current one, and
--             the API's certificate
--   withdrawn trusted no more; signs only for hosts that were away meanwhile

CREATE FUNCTION pem_fingerprint(pem text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT encode(sha256(decode(regexp_replace(substring(pem FROM '-----BEGIN CERTIFICATE-----(.*?)-----END'), '\s', '', 'g'), 'base64')), 'hex') $$;

ALTER TABLE authorities RENAME COLUMN name TO id;
ALTER TABLE authorities
    ADD COLUMN state text NOT NULL DEFAULT 'current' CONSTRAINT authority_state CHECK (state IN ('next', 'current', 'previous', 'withdrawn')),
    ADD COLUMN fingerprint text GENERATED ALWAYS AS (pem_fingerprint(certificate)) STORED,
    ADD COLUMN overlap_days int NOT NULL DEFAULT 30 CONSTRAINT authority_overlap CHECK (overlap_days BETWEEN 0 AND 365),
    ADD COLUMN used_at timestamptz,
    ADD COLUMN withdrawn_at timestamptz;
UPDATE authorities SET used_at = created_at;
-- rule authority_id_format: an id is 1 to 100 letters, digits and ". _ -", and not the name of a state
ALTER TABLE authorities ADD CONSTRAINT authority_id_format CHECK (is_id(id) AND id NOT IN ('next', 'current', 'previous', 'withdrawn'));
-- rule authority_state_key: there is a fleet CA in this state already: two are trusted at a time
CREATE UNIQUE INDEX authority_state_key ON authorities (state) WHERE state <> 'withdrawn';

INSERT INTO transitions (machine, source, event, target) VALUES
    ('authority', 'next', 'use', 'current'), ('authority', 'current', 'succeed', 'previous'),
    ('authority', 'previous', 'withdraw', 'withdrawn'), ('authority', 'next', 'withdraw', 'withdrawn');
CREATE TRIGGER transition BEFORE UPDATE ON authorities FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION check_transition('authority', 'state');

-- Fingerprints: of the CAs whose clients may command a host, as it says, NULL: not
-- known; and of the one that has signed its identity.
ALTER TABLE agents ADD COLUMN trusted_cas text[], ADD COLUMN identity_ca text;
UPDATE agents SET identity_ca = (SELECT fingerprint FROM authorities WHERE state = 'current') WHERE enrolled_at IS NOT NULL;

-- What hosts and API clients trust now.
CREATE VIEW trusted_authorities AS
SELECT id, state, fingerprint, certificate, array_position('{current,next,previous}', state) AS place FROM authorities WHERE state <> 'withdrawn';

-- Whose client certificate a host accepts. One that has not said what it trusts was
-- set up with a ca.crt that holds the previous one, as long as there is one.
CREATE FUNCTION authority_for(trusted text[]) RETURNS text LANGUAGE sql STABLE AS
$$
SELECT id FROM authorities
 WHERE state <> 'next'
 ORDER BY coalesce(fingerprint = ANY (trusted), false) DESC,
          array_position(CASE WHEN trusted IS NULL THEN '{previous,current,withdrawn}'::text[] ELSE '{current,previous,withdrawn}' END, state),
          created_at DESC
 LIMIT 1
$$;

-- Hosts that have been met and are not retired; those that answer are live.
CREATE VIEW fleet_hosts AS
SELECT id, coalesce(trusted_cas, '{}') AS trusted_cas, identity_ca, status <> 'Offline' AS live FROM agents
 WHERE enrolled_at IS NOT NULL AND status <> 'Retired';

CREATE VIEW api_authorities AS
SELECT a.id, a.state, a.fingerprint, a.certificate, a.not_after, a.overlap_days, a.used_at, a.withdrawn_at, a.created_at,
       (SELECT count(*) FROM fleet_hosts h WHERE a.fingerprint = ANY (h.trusted_cas)) AS hosts_trusting,
       (SELECT count(*) FROM fleet_hosts h WHERE h.identity_ca = a.fingerprint) AS hosts_identified,
       ARRAY(SELECT h.id FROM fleet_hosts h WHERE a.state IN ('next', 'current') AND a.fingerprint <> ALL (h.trusted_cas) ORDER BY h.id LIMIT 100) AS hosts_waiting
  FROM authorities a;

-- The step of a replacement that is due: make, use, withdraw; NULL: none.
CREATE FUNCTION authority_due() RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    c authorities; n authorities; p authorities;
BEGIN
    PERFORM FROM authorities WHERE state <> 'withdrawn' ORDER BY id FOR UPDATE;
    SELECT * INTO c FROM authorities WHERE state = 'current';
    SELECT * INTO n FROM authorities WHERE state = 'next';
    SELECT * INTO p FROM authorities WHERE state = 'previous';
    IF n.id IS NULL AND p.id IS NULL THEN
        RETURN CASE WHEN now() > c.created_at + (c.not_after - c.created_at) / 2 THEN 'make' END;
    ELSIF p.id IS NULL THEN
        RETURN CASE WHEN now() >= n.created_at + make_interval(days => n.overlap_days)
                      OR NOT EXISTS (SELECT FROM fleet_hosts h WHERE n.fingerprint <> ALL (h.trusted_cas)) THEN 'use' END;
    END IF;
    RETURN CASE WHEN now() >= c.used_at + make_interval(days => c.overlap_days)
                 AND NOT EXISTS (SELECT FROM fleet_hosts h WHERE h.live AND (c.fingerprint <> ALL (h.trusted_cas)
                                                                             OR h.identity_ca IS DISTINCT FROM c.fingerprint)) THEN 'withdraw' END;
END
$$;

-- Sealing keys. The last one that was used seals; a process opens with each that its
-- file has. Values name their key; those of the time of one key do not.
CREATE TABLE seal_keys (
    id       text PRIMARY KEY CONSTRAINT seal_key_id CHECK (id ~ '^[0-9a-f]{8}$'),
    used_at  timestamptz NOT NULL DEFAULT now()
);

-- Which keys the file of each process has, as it said last.
CREATE TABLE seal_key_holders (
    process  text PRIMARY KEY,
    ids      text[] NOT NULL,
    seen_at  timestamptz NOT NULL DEFAULT now()
);
CREATE VIEW seal_key_processes AS SELECT process, ids FROM seal_key_holders WHERE seen_at > now() - interval '2 minutes';

CREATE FUNCTION seal_key_of(sealed text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT CASE WHEN sealed LIKE 'v2.%' THEN substr(sealed, 4, 8) ELSE '' END $$;

-- Every sealed value, and what binds it to its place.
CREATE VIEW sealed_values AS
SELECT 'authorities' AS place, id AS row_id, 'authorities.key.' || id AS context, key AS sealed FROM authorities
UNION ALL SELECT 'issuers', id, 'issuers.secrets.' || id, secrets FROM issuers WHERE secrets IS NOT NULL
UNION ALL SELECT 'issuer_accounts', issuer_id, 'issuers.account.' || issuer_id, account FROM issuer_accounts WHERE account IS NOT NULL
UNION ALL SELECT 'idempotency_keys', principal || ' ' || key, NULL, answer FROM idempotency_keys WHERE answer IS NOT NULL;

-- A value takes the place of the one that was read; whoever has changed it meanwhile
-- has sealed it.
CREATE FUNCTION seal_replace(place text, row_id text, before text, after text) RETURNS boolean LANGUAGE plpgsql AS
$$
BEGIN
    CASE place
    WHEN 'authorities' THEN UPDATE authorities SET key = after WHERE id = row_id AND key = before;
    WHEN 'issuers' THEN UPDATE issuers SET secrets = after WHERE id = row_id AND secrets = before;
    WHEN 'issuer_accounts' THEN UPDATE issuer_accounts SET account = after WHERE issuer_id = row_id AND account = before;
    END CASE;
    RETURN FOUND;
END
$$;

CREATE VIEW api_seal_keys AS
SELECT k.id, k.id = (SELECT id FROM seal_keys ORDER BY used_at DESC LIMIT 1) AS current,
       (SELECT max(s.used_at) FROM seal_keys s WHERE s.id = k.id) AS used_at,
       (SELECT count(*) FROM sealed_values v WHERE seal_key_of(v.sealed) = k.id) AS sealed_values,
       ARRAY(SELECT p.process FROM seal_key_processes p WHERE k.id = ANY (p.ids) ORDER BY 1) AS held_by,
       ARRAY(SELECT p.process FROM seal_key_processes p WHERE k.id <> ALL (p.ids) ORDER BY 1) AS missing_in
  FROM (SELECT id FROM seal_keys UNION SELECT unnest(ids) FROM seal_key_processes
        UNION SELECT seal_key_of(sealed) FROM sealed_values WHERE seal_key_of(sealed) <> '') AS k;

-- A host that is met anew has another store: what it trusts is not known.
CREATE FUNCTION agent_trust_unknown() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.trusted_cas := NULL; RETURN NEW; END $$;
CREATE TRIGGER agent_trust_unknown BEFORE UPDATE ON agents FOR EACH ROW
    WHEN (OLD.enrolled_at IS NOT NULL AND NEW.enrolled_at IS NULL) EXECUTE FUNCTION agent_trust_unknown();
