//! HTTP from outside: what flows answer, what is refused, what the API says of itself.

mod broken;
mod contract;
mod flows;
mod limits;
mod lists;
mod login;
mod store_down;
