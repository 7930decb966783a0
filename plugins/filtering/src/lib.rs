//! Lets messages through by a value or a date, and groups rows.

mod filter_by;
mod filter_by_date;
mod group_by;
mod moment;

pub use filter_by::FilterBy;
pub use filter_by_date::FilterByDate;
pub use group_by::GroupBy;

probity_sdk::plugin!(FilterBy, FilterByDate, GroupBy);
