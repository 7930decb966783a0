-- Searching the history of runs. Each index holds the few rows that its search is about: successful calls, which are most
-- of what is written, are in none of them, so that they cost nothing more to write.

CREATE INDEX run_not_done ON probity.run (state, id) WHERE state <> 'done';
CREATE INDEX run_not_called ON probity.run (trigger_kind, id) WHERE trigger_kind <> 'http';
CREATE INDEX run_with_error ON probity.run (id) WHERE error IS NOT NULL;
CREATE INDEX run_of_cause ON probity.run ((coalesce(trigger ->> 'evaluation', trigger ->> 'run')))
    WHERE trigger_kind IN ('metric', 'linked');
