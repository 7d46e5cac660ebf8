-- What every list runs.

-- name: resource_list
SELECT api_list($1, $2::jsonb, $3, $4::boolean, $5, $6, $7::bigint, $8::bigint, $9, $10::jsonb);

-- name: rest_ready
SELECT 1;
