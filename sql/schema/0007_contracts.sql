-- What changes of objects need: an object that is locked while a change of it is
-- checked, and answers that are given again.

CREATE FUNCTION api_locked(p_view text, p_id text) RETURNS text LANGUAGE plpgsql AS
$$
DECLARE
    object text;
BEGIN
    EXECUTE format('SELECT row_to_json(v)::text FROM %I v WHERE v.id = $1 FOR UPDATE', p_view) INTO object USING p_id;
    RETURN object;
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
