//! Floor 2: agreements, purely: load and check the document, cut time into windows, say what must be collected,
//! read what was collected, judge it.
//!
//! One evaluation is: [`load`] → [`windows`] per term → [`queries::plan`] → (collect, elsewhere) →
//! [`collected::samples`] → [`elsewhere::add`] → [`evaluate::guarantee_states`] and [`evaluate::metrics_states`].

pub mod billing;
pub mod budgets;
pub mod bundle;
pub mod collected;
pub mod compat;
pub mod coverage;
pub mod diff;
pub mod elsewhere;
pub mod evaluate;
pub mod explain;
pub mod load;
pub mod observed;
pub mod queries;
pub mod rounded;
pub mod schema;
pub mod simulate;
pub mod slices;
pub mod source;
pub mod template;
pub mod waivers;
pub mod windows;

mod business;
mod calendars;
mod collector;
mod document;
mod inputs;
mod metrics;
pub(crate) mod penalties;
mod recurrence;
mod rules;
mod steps;
mod terms;
mod time;
mod window_spec;

pub use bundle::{Bundle, load_all};
pub use load::{load, load_value};
pub use template::Template;
pub use time::{instant, tz_database_version};
pub use windows::{Calendar, TooManyWindows, WINDOWS_MAX};

#[cfg(test)]
mod tests;
