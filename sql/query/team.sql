-- Teams: who owns what.

-- name: team_get
SELECT row_to_json(v) FROM api_teams v WHERE v.id = $1;

-- name: team_create
INSERT INTO teams (id, name) VALUES (coalesce($1::jsonb ->> 'id', new_id('t-')), $1::jsonb ->> 'name') RETURNING id;

-- name: team_update
UPDATE teams t SET name = b.name, description = b.description FROM teams o, jsonb_populate_record(o, $2::jsonb) b
 WHERE t.id = $1 AND o.id = t.id RETURNING t.id;

-- name: team_delete
DELETE FROM teams WHERE id = $1 RETURNING id;
