//! Floor 5: where agreements come from, and the one live set of them that everybody reads. A source is read again
//! when it changes; what is wrong with a document is said beside the last good version of it, which goes on.

mod document;
mod folder;
mod governify;
mod live;
mod mongo;
mod pass;
mod put;
mod references;
mod remembered;
mod remote;
mod shown;
mod source;
mod stored;
mod written;

pub use document::{Document, Found};
pub use folder::{FolderSource, load_folder};
pub use live::{Agreements, Snapshot, SourceReport, SourceState, Template};
pub use pass::{PassThrough, Passed};
pub use put::{PutError, PutOutcome};
pub use remote::remote;
pub use shown::{basic as basic_login, shown as address_shown};
pub use source::{Followed, Source, SourceError, Times, addresses, follow, read_once};
pub use stored::{STORED, StoredSource};
pub use written::StateWriter;
