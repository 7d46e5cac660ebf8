-- What a target's record becomes for a certificate is a part of a path on the host:
-- the same rule as certctl_record_usable() of controller/wire/record.h. NOT VALID: a
-- row of before is refused when it is used.

-- rule mapping_place_check: the record of a target must have letters, digits and . _ - * only and must not begin with _: set record in its config
ALTER TABLE certificate_target_mappings ADD CONSTRAINT mapping_place_check
    CHECK (place LIKE '/%' OR (place ~ '^[A-Za-z0-9.*-][A-Za-z0-9._*-]*$' AND place NOT IN ('.', '..'))) NOT VALID;
