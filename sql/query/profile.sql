-- Profiles: what may be issued.

-- name: profile_get
SELECT row_to_json(v) FROM api_profiles v WHERE v.id = $1;

-- name: profile_create
INSERT INTO certificate_profiles (id, name)
VALUES (coalesce($1::jsonb ->> 'id', new_id('prof-')), $1::jsonb ->> 'name') RETURNING id;

-- name: profile_update
UPDATE certificate_profiles t
   SET name = b.name, description = b.description, allowed_key_algorithms = b.allowed_key_algorithms,
       max_ttl_seconds = b.max_ttl_seconds, allowed_ekus = b.allowed_ekus, required_san_patterns = b.required_san_patterns, allow_short_lived = b.allow_short_lived,
       must_staple = b.must_staple, requires_approval = b.requires_approval, enabled = b.enabled
  FROM certificate_profiles o, jsonb_populate_record(o, $2::jsonb) b
 WHERE t.id = $1 AND o.id = t.id RETURNING t.id;

-- name: profile_delete
DELETE FROM certificate_profiles WHERE id = $1 RETURNING id;
