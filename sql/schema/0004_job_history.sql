-- Partitions of job_history: made two months ahead, dropped after a year, never
-- deleted from. The loop "partitions" calls this once a day.
CREATE FUNCTION job_history_partitions() RETURNS int LANGUAGE plpgsql AS
$$
DECLARE
    month date := date_trunc('month', now());
    part  text;
    made  int := 0;
BEGIN
    FOR i IN 0..2 LOOP
        part := 'job_history_' || to_char(month + make_interval(months => i), 'YYYYMM');
        IF to_regclass(part) IS NULL
           AND NOT EXISTS (SELECT FROM job_history_rest
                            WHERE completed_at >= month + make_interval(months => i)
                              AND completed_at < month + make_interval(months => i + 1))
        THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF job_history FOR VALUES FROM (%L) TO (%L)', part,
                           month + make_interval(months => i), month + make_interval(months => i + 1));
            made := made + 1;
        END IF;
    END LOOP;

    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'job_history'::regclass AND c.relname ~ '^job_history_\d{6}$'
                   AND c.relname < 'job_history_' || to_char(month - interval '12 months', 'YYYYMM')
    LOOP
        EXECUTE format('DROP TABLE %I', part);
    END LOOP;

    RETURN made;
END
$$;

SELECT job_history_partitions();
