-- What CRL and OCSP are answered from: the database, at once, on every replica.

-- name: pki_version
SELECT updated_at FROM issuers WHERE id = $1;

-- The CRL there is, without its octets when it is out of date: too old, signed
-- by other keys, or made before a revocation.  A snapshot from the future is
-- one of another cluster: a dump was restored.
-- name: crl_current
SELECT c.number, extract(epoch FROM c.this_update)::bigint AS this_update, extract(epoch FROM c.next_update)::bigint AS next_update,
       f.fresh, CASE WHEN f.fresh THEN c.der END AS der
  FROM crls c JOIN issuers i ON i.id = c.issuer_id,
       LATERAL (SELECT c.generated_at > now() - make_interval(secs => $2)
                   AND c.issuer_version = i.updated_at
                   AND pg_snapshot_xmax(c.snapshot) <= pg_snapshot_xmax(pg_current_snapshot())
                   AND NOT EXISTS (SELECT FROM certificate_revocations r
                                    WHERE r.issuer_id = c.issuer_id AND r.changed_by >= pg_snapshot_xmin(c.snapshot)
                                      AND NOT pg_visible_in_snapshot(r.changed_by, c.snapshot)) AS fresh) f
 WHERE c.issuer_id = $1;

-- One replica makes it, the others wait and find it.
-- name: crl_lock
SELECT pg_advisory_xact_lock(hashtextextended('crl ' || $1, 0));

-- name: crl_next
SELECT coalesce((SELECT c.number FROM crls c WHERE c.issuer_id = i.id), 0) + 1 AS next_number, i.updated_at AS version,
       extract(epoch FROM now())::bigint AS now
  FROM issuers i WHERE i.id = $1;

-- At least one row, for the snapshot.  An entry stays for a while after its
-- certificate has expired (RFC 5280 3.3).
-- name: crl_entries
SELECT s.snapshot, r.serial_number, extract(epoch FROM r.revoked_at)::bigint AS revoked_at, r.reason_code
  FROM (SELECT pg_current_snapshot() AS snapshot) s
  LEFT JOIN certificate_revocations r ON r.issuer_id = $1 AND r.not_after > now() - make_interval(secs => $2)
 ORDER BY r.serial_number;

-- name: crl_store
INSERT INTO crls (issuer_id, number, this_update, next_update, revoked_count, der, snapshot, issuer_version)
VALUES ($1, $2::bigint, to_timestamp($3::bigint), to_timestamp($4::bigint), $5::int, decode($6, 'hex'), $7::pg_snapshot, $8::timestamptz)
ON CONFLICT (issuer_id) DO UPDATE SET number = excluded.number, this_update = excluded.this_update, next_update = excluded.next_update,
      revoked_count = excluded.revoked_count, der = excluded.der, snapshot = excluded.snapshot,
      issuer_version = excluded.issuer_version, generated_at = now();

-- No row: never issued.  NULLs: good.
-- name: pki_status
SELECT extract(epoch FROM r.revoked_at)::bigint, r.reason_code
  FROM (SELECT $1::text AS issuer_id, $2::text AS serial_number) q
  LEFT JOIN certificate_revocations r USING (issuer_id, serial_number)
 WHERE r.serial_number IS NOT NULL
    OR EXISTS (SELECT FROM certificate_versions v WHERE v.issuer_id = q.issuer_id AND v.serial_number = q.serial_number);
