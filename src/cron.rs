//! placeholder until the real one lands
#[derive(Clone, Debug, PartialEq)]
pub struct Cron;
