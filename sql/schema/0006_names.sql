-- How many names a certificate may have, the common name among them: what one
-- request takes (wire.h's CERTCTL_SANS_MAX). A trigger for the names alone and no
-- CHECK: a row that breaks the rule already must still be able to expire.
CREATE FUNCTION certificate_names() RETURNS trigger LANGUAGE plpgsql AS
$$
DECLARE
    n int := (SELECT count(DISTINCT lower(name)) FROM unnest(array_prepend(NEW.common_name, NEW.sans)) name);
BEGIN
    IF n > 100 THEN
        RAISE EXCEPTION 'a certificate has at most 100 names, its common_name included, and not %', n
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER certificate_names BEFORE INSERT OR UPDATE OF common_name, sans
    ON managed_certificates FOR EACH ROW EXECUTE FUNCTION certificate_names();

ALTER TABLE managed_certificates DROP CONSTRAINT certificate_sans_count;
