-- Searching the history of runs. Each index holds the few rows that its search is about: successful calls, which are most
-- of what is written, are in none of them, so that they cost nothing more to write.

CREATE INDEX probity_run_not_done ON probity_run (state, id) WHERE state <> 'done';
CREATE INDEX probity_run_not_called ON probity_run (trigger_kind, id) WHERE trigger_kind <> 'http';
CREATE INDEX probity_run_with_error ON probity_run (id) WHERE error IS NOT NULL;
CREATE INDEX probity_run_of_cause ON probity_run (coalesce(json_extract("trigger", '$.evaluation'), json_extract("trigger", '$.run')))
    WHERE trigger_kind IN ('metric', 'linked');
