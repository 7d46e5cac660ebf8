-- What CRL and OCSP are answered from: the database, at once, on every replica.

-- name: pki_version
SELECT updated_at FROM issuers WHERE id = $1;

-- The CRL there is, without its octets when it is out of date: too old, made in
-- the future by a clock that was wrong, signed by other keys, or with changes that
-- it does not contain. now() is when this transaction began: the one that made the
-- CRL while this one waited may have begun later.
-- name: crl_current
SELECT c.number, extract(epoch FROM c.this_update)::bigint AS this_update, extract(epoch FROM c.next_update)::bigint AS next_update,
       CASE WHEN f.fresh THEN c.der END AS der
  FROM crls c JOIN issuers i ON i.id = c.issuer_id,
       LATERAL (SELECT c.generated_at > now() - make_interval(secs => $2) AND c.generated_at <= clock_timestamp()
                   AND c.issuer_version = i.updated_at
                   AND NOT EXISTS (SELECT FROM crl_changes n WHERE n.issuer_id = c.issuer_id) AS fresh) f
 WHERE c.issuer_id = $1;

-- One replica makes it, the others wait and find it.
-- name: crl_lock
SELECT pg_advisory_xact_lock(hashtextextended('crl ' || $1, 0));

-- The number is the time in milliseconds, so that it is higher than all that were
-- published also when the database comes from a backup (RFC 5280 5.2.3).
-- name: crl_next
SELECT greatest((SELECT c.number FROM crls c WHERE c.issuer_id = i.id) + 1, (extract(epoch FROM clock_timestamp()) * 1000)::bigint) AS next_number,
       i.updated_at AS version, extract(epoch FROM now())::bigint AS now
  FROM issuers i WHERE i.id = $1;

-- Before the entries are read: what these rows stand for is committed.
-- name: crl_changes_take
DELETE FROM crl_changes WHERE issuer_id = $1;

-- Each start of a controller may follow a restore from a backup: the CRL in it is
-- older than the one that was published last.
-- name: crl_changes_all
INSERT INTO crl_changes (issuer_id) SELECT issuer_id FROM crls EXCEPT SELECT issuer_id FROM crl_changes;

-- An entry stays for a while after its certificate has expired (RFC 5280 3.3).
-- name: crl_entries
SELECT serial_number, extract(epoch FROM revoked_at)::bigint AS revoked_at, reason_code
  FROM certificate_revocations WHERE issuer_id = $1 AND not_after > now() - make_interval(secs => $2)
 ORDER BY serial_number;

-- The columns of crl_current.
-- name: crl_store
INSERT INTO crls AS c (issuer_id, number, this_update, next_update, revoked_count, der, issuer_version)
VALUES ($1, $2::bigint, to_timestamp($3::bigint), to_timestamp($4::bigint), $5::int, decode($6, 'hex'), $7::timestamptz)
ON CONFLICT (issuer_id) DO UPDATE SET number = excluded.number, this_update = excluded.this_update, next_update = excluded.next_update,
      revoked_count = excluded.revoked_count, der = excluded.der, issuer_version = excluded.issuer_version, generated_at = now()
RETURNING c.number, extract(epoch FROM c.this_update)::bigint AS this_update, extract(epoch FROM c.next_update)::bigint AS next_update, c.der;

-- No row: never issued.  NULLs: good.
-- name: pki_status
SELECT extract(epoch FROM r.revoked_at)::bigint, r.reason_code
  FROM (SELECT $1::text AS issuer_id, $2::text AS serial_number) q
  LEFT JOIN certificate_revocations r USING (issuer_id, serial_number)
 WHERE r.serial_number IS NOT NULL
    OR EXISTS (SELECT FROM certificate_versions v WHERE v.issuer_id = q.issuer_id AND v.serial_number = q.serial_number);
