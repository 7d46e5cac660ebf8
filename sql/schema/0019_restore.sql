-- Nothing here depends on the ids that PostgreSQL gives in one cluster (transactions,
-- log positions, objects): a dump is restored into another one.

-- A row for each change of an issuer's revocations that its CRL does not contain.
-- Who makes the CRL deletes the rows that it sees, in the same transaction: the row
-- of a revocation that is committed later stays, and asks for the next CRL.
CREATE TABLE crl_changes (
    issuer_id   text NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX crl_changes_issuer ON crl_changes (issuer_id);

DROP TRIGGER revocation_changed ON certificate_revocations;
DROP FUNCTION revocation_changed();
ALTER TABLE certificate_revocations DROP COLUMN changed_by;
ALTER TABLE crls DROP COLUMN snapshot;

CREATE FUNCTION revocations_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO crl_changes (issuer_id) SELECT DISTINCT issuer_id FROM changed; RETURN NULL; END $$;
CREATE TRIGGER revocations_added AFTER INSERT ON certificate_revocations
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION revocations_changed();
CREATE TRIGGER revocations_deleted AFTER DELETE ON certificate_revocations
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION revocations_changed();

CREATE FUNCTION revocation_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN INSERT INTO crl_changes (issuer_id) SELECT DISTINCT unnest(ARRAY[OLD.issuer_id, NEW.issuer_id]); RETURN NULL; END $$;
CREATE TRIGGER revocation_changed AFTER UPDATE OF issuer_id, serial_number, reason_code, revoked_at, not_after
    ON certificate_revocations FOR EACH ROW EXECUTE FUNCTION revocation_changed();

-- CRLs that are there may lack what their snapshots said.
INSERT INTO crl_changes (issuer_id) SELECT issuer_id FROM crls;

-- Audit rows name their actor by the name of its key: these names are of others.
UPDATE api_keys SET name = name || ' (' || id || ')' WHERE lower(btrim(name)) IN ('system', 'anonymous');
CREATE FUNCTION api_key_name_reserved() RETURNS trigger LANGUAGE plpgsql AS
$$
BEGIN
    RAISE EXCEPTION USING ERRCODE = '23514', COLUMN = '/name',
        MESSAGE = format('name must not be "%s": audit rows use "system" for certctl itself, and "anonymous" for callers without a key', NEW.name);
END
$$;
CREATE TRIGGER api_key_name_reserved BEFORE INSERT OR UPDATE OF name ON api_keys
    FOR EACH ROW WHEN (lower(btrim(NEW.name)) IN ('system', 'anonymous')) EXECUTE FUNCTION api_key_name_reserved();

-- Agents that are polled by the inventory.
CREATE VIEW agents_polled AS
SELECT id, next_poll_at FROM agents WHERE status NOT IN ('Retired', 'Pending') AND kind = 'nginx-module' AND enrolled_at IS NOT NULL;
CREATE INDEX agents_poll ON agents (next_poll_at) WHERE status NOT IN ('Retired', 'Pending') AND kind = 'nginx-module' AND enrolled_at IS NOT NULL;

-- The latest time that the clock has shown: when it shows less, it was set back.
CREATE TABLE clock (
    id       boolean PRIMARY KEY DEFAULT true CONSTRAINT clock_one CHECK (id),
    seen_at  timestamptz NOT NULL DEFAULT now()
);
INSERT INTO clock DEFAULT VALUES;
