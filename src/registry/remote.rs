//! Addresses of sources elsewhere.

use std::sync::Arc;

use super::governify::GovernifySource;
use super::mongo::MongoSource;
use super::shown::shown;
use super::source::{Source, Times};
use crate::model::diagnostic::closest;
use crate::net::Net;

const SCHEMES: [&str; 4] = ["http", "https", "mongodb", "mongodb+srv"];

/// The source at this address: a Registry, or the database of one.
///
/// # Errors
/// What is wrong with the address and what was expected, without its secrets.
pub fn remote(address: &str, net: &Arc<Net>, times: Times) -> Result<Box<dyn Source>, String> {
    let scheme = address.split("://").next().unwrap_or_default();
    match scheme {
        "http" | "https" => Ok(Box::new(GovernifySource::new(address, net, times)?)),
        "mongodb" | "mongodb+srv" => Ok(Box::new(MongoSource::new(address, net, times))),
        _ => {
            let hint = closest(scheme, SCHEMES).map(|best| format!("; did you mean {best}://?")).unwrap_or_default();
            Err(format!(
                "{}: {scheme}:// is no kind of source; expected a folder or file, \"shipped\", or an address that \
                 begins with {}://{hint}",
                shown(address),
                SCHEMES.join("://, ")
            ))
        }
    }
}
