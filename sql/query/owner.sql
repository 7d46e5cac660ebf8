-- Owners: the people behind certificates.

-- name: owner_get
SELECT row_to_json(v) FROM api_owners v WHERE v.id = $1;

-- name: owner_create
INSERT INTO owners (id, name, email)
VALUES (coalesce($1::jsonb ->> 'id', new_id('o-')), $1::jsonb ->> 'name', $1::jsonb ->> 'email') RETURNING id;

-- name: owner_update
UPDATE owners t SET name = b.name, email = b.email, team_id = b.team_id FROM owners o, jsonb_populate_record(o, $2::jsonb) b
 WHERE t.id = $1 AND o.id = t.id RETURNING t.id;

-- name: owner_delete
DELETE FROM owners WHERE id = $1 RETURNING id;
