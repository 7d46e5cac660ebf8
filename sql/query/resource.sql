-- What every list runs.

-- name: resource_list
SELECT api_list($1, $2::jsonb, $3, $4::boolean, $5, $6, $7::bigint, $8::bigint, $9, $10::jsonb);

-- name: rest_ready
SELECT 1;

-- An object, locked against other changes until the transaction ends.
-- name: resource_lock
SELECT api_locked($1, $2);

-- name: resource_dependants
SELECT api_dependants($1, $2);

-- What plain resources run on their table.
-- name: resource_create
SELECT api_create($1, $2::jsonb);

-- name: resource_update
SELECT api_update($1, $2, $3::jsonb);

-- name: resource_delete
SELECT api_delete($1, $2);
