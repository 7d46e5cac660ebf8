-- When a CRL is out of date.  Times cannot tell: a revocation that began before
-- the CRL was made may be committed after it.  Snapshots can: a CRL is current
-- while every revocation was visible to the snapshot that it was made from.
ALTER TABLE certificate_revocations ADD COLUMN changed_by xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX certificate_revocations_changed ON certificate_revocations (issuer_id, changed_by);

CREATE FUNCTION revocation_changed() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NEW.changed_by := pg_current_xact_id(); RETURN NEW; END $$;
CREATE TRIGGER revocation_changed BEFORE UPDATE OF issuer_id, serial_number, reason_code, revoked_at, not_after
    ON certificate_revocations FOR EACH ROW EXECUTE FUNCTION revocation_changed();

-- issuer_version is issuers.updated_at of the keys that signed it.
ALTER TABLE crls ADD COLUMN snapshot pg_snapshot NOT NULL, ADD COLUMN issuer_version timestamptz NOT NULL;
