-- The role Grafana's user is a member of: reads the views and nothing else. Run at every migrate, not once
-- per database: roles belong to the server, so a dump restored elsewhere comes without them.
DO $role$
BEGIN
    IF to_regrole('grafana_ro') IS NULL THEN
        BEGIN
            CREATE ROLE grafana_ro NOLOGIN;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE NOTICE 'role grafana_ro is missing and this user may not create it; ask an administrator: CREATE ROLE grafana_ro NOLOGIN';
            -- Another database of this server was migrated at the same instant.
            WHEN duplicate_object OR unique_violation THEN
                NULL;
        END;
    END IF;
    IF to_regrole('grafana_ro') IS NOT NULL
        AND NOT (
            has_schema_privilege('grafana_ro', 'probity', 'USAGE')
            AND has_table_privilege('grafana_ro', 'probity.verdicts', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity.samples', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity.corrections', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity."Points"', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity.budgets', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity.burn_rates', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity.explanations', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity.evidence', 'SELECT')
            AND has_table_privilege('grafana_ro', 'probity.runs', 'SELECT')
        )
    THEN
        GRANT USAGE ON SCHEMA probity TO grafana_ro;
        GRANT SELECT ON probity.verdicts, probity.samples, probity.corrections, probity."Points" TO grafana_ro;
        GRANT SELECT ON probity.budgets, probity.burn_rates TO grafana_ro;
        GRANT SELECT ON probity.explanations, probity.evidence, probity.runs TO grafana_ro;
    END IF;
END
$role$;
