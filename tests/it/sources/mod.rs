//! Where agreements come from: what comes, changes, breaks and goes while we run.

mod live;
mod mongo;
mod registry;
