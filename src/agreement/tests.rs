//! Agreements by example (`tests/cases/agreement`) and by property.
