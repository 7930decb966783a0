-- What a database holds, so that it can be compared: for each table its name, its rows, and two sums over the hashes
-- of its rows, which do not depend on their order. Tabs between. Partitions are counted with their table.
-- The text of a row depends on these settings.
SET TimeZone = 'UTC';
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
SET bytea_output = 'hex';
SET extra_float_digits = 1;
SET search_path = '';
SET statement_timeout = 0;
SELECT format(
    'SELECT %L, count(*), coalesce(sum((''x'' || substr(hash, 1, 15))::bit(60)::bigint), 0), '
        'coalesce(sum((''x'' || substr(hash, 16, 15))::bit(60)::bigint), 0) '
        'FROM (SELECT md5(row_of_table::text) AS hash FROM %I.%I AS row_of_table) AS hashed',
    format('%I.%I', schema.nspname, class.relname), schema.nspname, class.relname)
FROM pg_class AS class JOIN pg_namespace AS schema ON schema.oid = class.relnamespace
WHERE class.relkind IN ('r', 'p') AND NOT class.relispartition AND class.relpersistence = 'p'
    AND schema.nspname NOT LIKE 'pg\_%' AND schema.nspname <> 'information_schema'
ORDER BY schema.nspname, class.relname \gexec
