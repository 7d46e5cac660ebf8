-- Targets: places where certificates are served.

-- name: target_get
SELECT row_to_json(v) FROM api_targets v WHERE v.id = $1;

-- name: target_create
INSERT INTO deployment_targets (id, name, agent_id)
VALUES (coalesce($1::jsonb ->> 'id', new_id('tgt-')), $1::jsonb ->> 'name', $1::jsonb ->> 'agent_id') RETURNING id;

-- name: target_update
UPDATE deployment_targets t
   SET name = b.name, type = lower(b.type), agent_id = b.agent_id, config = b.config, enabled = b.enabled
  FROM deployment_targets o, jsonb_populate_record(o, $2::jsonb) b
 WHERE t.id = $1 AND o.id = t.id RETURNING t.id;

-- name: target_delete
DELETE FROM deployment_targets WHERE id = $1 RETURNING id;
