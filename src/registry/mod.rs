//! Floor 4: where agreements come from. In this release a folder; the only module that reads them from outside.

mod folder;

pub use folder::load_folder;
