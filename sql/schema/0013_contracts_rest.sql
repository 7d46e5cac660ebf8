-- One place for a file, however its path is written.

-- An absolute path without empty, "." and ".." parts.
CREATE FUNCTION path_resolved(path text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS
$$
DECLARE
    kept text[] := '{}';
    part text;
BEGIN
    FOREACH part IN ARRAY string_to_array(path, '/') LOOP
        kept := CASE WHEN part IN ('', '.') THEN kept
                     WHEN part = '..' THEN kept[1:cardinality(kept) - 1]
                     ELSE kept || part END;
    END LOOP;
    RETURN '/' || array_to_string(kept, '/');
END
$$;

CREATE OR REPLACE FUNCTION target_place(p_type text, config jsonb, certificate_id text, common_name text) RETURNS text
    LANGUAGE sql IMMUTABLE AS
$$
SELECT CASE p_type WHEN 'nginx-module' THEN lower(x.place) ELSE path_resolved(x.place) END
  FROM (SELECT replace(replace(CASE p_type WHEN 'nginx-module' THEN coalesce(nullif(config ->> 'record', ''), '{common_name}')
                                           WHEN 'nginx' THEN config ->> 'cert_path' END,
                               '{id}', certificate_id), '{common_name}', common_name) AS place) AS x
$$;

-- Places that are there: two that turn out to be one stay as they are until one of
-- them is changed. Nothing has been deployed to such a target.
UPDATE certificate_target_mappings m SET place = w.place
  FROM places_wanted(NULL, NULL) w
 WHERE m.certificate_id = w.certificate_id AND m.target_id = w.target_id AND m.place IS NOT NULL AND m.place <> w.place
   AND NOT EXISTS (SELECT FROM places_wanted(NULL, NULL) o
                    WHERE (o.agent_id, o.place) = (w.agent_id, w.place) AND (o.certificate_id, o.target_id) <> (w.certificate_id, w.target_id));
