//! Takes values out of payloads: the object of a list with a given value, a property, the attribute of a log, the time
//! an activity last happened.

mod find_object;
mod get_kv_property;
mod get_property_value;
mod last_timestamp;
mod sought;

pub use find_object::FindObject;
pub use get_kv_property::GetKvProperty;
pub use get_property_value::GetPropertyValue;
pub use last_timestamp::LastTimestamp;

probity_sdk::plugin!(FindObject, GetKvProperty, GetPropertyValue, LastTimestamp);
