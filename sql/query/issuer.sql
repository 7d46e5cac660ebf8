-- Issuers: a connector and its configuration; core/ writes them, since it seals.

-- name: issuer_get
SELECT row_to_json(v) FROM api_issuers v WHERE v.id = $1;

-- name: issuer_delete
DELETE FROM issuers WHERE id = $1 RETURNING id;
