-- Organizations: scopes of hosts, certificates and policies.

-- name: organization_get
SELECT row_to_json(v) FROM api_organizations v WHERE v.id = $1;

-- name: organization_create
INSERT INTO organizations (id, name) VALUES (coalesce($1::jsonb ->> 'id', new_id('org-')), $1::jsonb ->> 'name') RETURNING id;

-- name: organization_update
UPDATE organizations t SET name = b.name FROM organizations o, jsonb_populate_record(o, $2::jsonb) b
 WHERE t.id = $1 AND o.id = t.id RETURNING t.id;

-- name: organization_delete
DELETE FROM organizations WHERE id = $1 RETURNING id;
