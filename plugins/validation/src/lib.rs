//! Checks of properties, activities, addresses and documents, as STATUS flows know them.

mod address;
mod check_property;
mod exists_pipe;
mod exists_section_in_doc;
mod exists_url;
mod fuzzy;
mod has_activity;
mod is_valid_url;

pub use check_property::CheckProperty;
pub use exists_pipe::ExistsPipe;
pub use exists_section_in_doc::ExistsSectionInDoc;
pub use exists_url::ExistsUrl;
pub use has_activity::HasActivity;
pub use is_valid_url::IsValidUrl;

probity_sdk::plugin!(CheckProperty, ExistsPipe, ExistsSectionInDoc, ExistsUrl, HasActivity, IsValidUrl);
