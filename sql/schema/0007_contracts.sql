-- What changes of objects need: an object locked while it is judged, and what
-- still refers to one that is to be deleted.

CREATE FUNCTION api_locked(p_view text, p_id text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    object text;
BEGIN
    EXECUTE format('SELECT row_to_json(v)::text FROM %I v WHERE v.id = $1 FOR UPDATE', p_view) INTO object USING p_id;
    RETURN object;
END
$$;

-- [{"type": "certificate", "id": "mc-a"}, ...]: at most 20 of each type.
CREATE FUNCTION api_dependants(p_table text, p_id text) RETURNS jsonb LANGUAGE plpgsql STABLE AS
$$
DECLARE
    reference record;
    these     jsonb;
    found     jsonb := '[]';
BEGIN
    FOR reference IN
        SELECT c.conrelid::regclass AS source, a.attname AS referrer, k.type, k.id
          FROM pg_constraint c
          JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
          JOIN (VALUES ('managed_certificates'::regclass, 'certificate', 'id'),
                       ('certificate_target_mappings', 'certificate', 'certificate_id'),
                       ('deployment_targets', 'target', 'id'), ('renewal_policies', 'renewal_policy', 'id'),
                       ('owners', 'owner', 'id'), ('agents', 'agent', 'id')) AS k (source, type, id) ON k.source = c.conrelid
         WHERE c.contype = 'f' AND c.confrelid = p_table::regclass AND c.confdeltype IN ('a', 'r')
         ORDER BY 3, 1
    LOOP
        EXECUTE format('SELECT jsonb_agg(jsonb_build_object(''type'', %L, ''id'', x.id))
                          FROM (SELECT %I AS id FROM %s WHERE %I = $1 ORDER BY 1 LIMIT 20) x',
                       reference.type, reference.id, reference.source, reference.referrer)
           INTO these USING p_id;
        found := found || coalesce(these, '[]');
    END LOOP;
    RETURN found;
END
$$;

-- What was answered to a POST with an Idempotency-Key, written in its transaction
-- and kept for a day. answer is sealed: it may hold a new API key.
CREATE TABLE idempotency_keys (
    principal   text NOT NULL,
    key         text NOT NULL,
    request     text NOT NULL,      -- SHA-256 of path, query and body
    status      int,
    location    text,
    answer      text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (principal, key)
);

CREATE INDEX idempotency_key_age ON idempotency_keys (created_at);

-- As before, but its sentence is one that callers are shown.
CREATE OR REPLACE FUNCTION api_cursor(p_cursor text) RETURNS text[] LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    plain text;
BEGIN
    plain := convert_from(decode(rpad(translate(p_cursor, '-_', '+/'), (length(p_cursor) + 3) / 4 * 4, '='), 'base64'), 'UTF8');
    IF plain !~ '^[-0-9:.+ ]{10,40},[^,]{1,100}$' THEN
        RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = '';
    END IF;
    RETURN string_to_array(plain, ',');
EXCEPTION WHEN data_exception OR character_not_in_repertoire THEN
    RAISE EXCEPTION USING ERRCODE = 'P0001', MESSAGE = 'the cursor is not one that this list answered';
END
$$;
