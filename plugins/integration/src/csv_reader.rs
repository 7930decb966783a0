//! `csv-reader`: the rows of a CSV file, one message each.

use logs::{charset, csv_log};
use probity_sdk::prelude::*;

/// Reads a CSV file and sends one message per row.
///
/// `msg.payload` is an object with the fields by the names of the header, all of them texts; `msg.index` counts from 0.
/// After the last row its message is sent once more, with `msg.complete` true. Quotes, commas and line breaks in quotes
/// are as RFC 4180 has them; blanks around fields are cut off and blank lines passed over. Rows shorter or longer than
/// the header are an error that names each, and nothing is sent.
///
/// Files are read only below the folders the operator granted; a relative path is looked for there.
///
/// A caller may send `path` in the body of the request.
#[derive(Clone, Config)]
pub struct CsvReader {
    /// The file, below a granted folder.
    #[config(label = "Path", default = "", placeholder = "rows.csv")]
    path: String,
    /// What separates the fields.
    #[config(label = "Delimiter", default = ",", one_of = [",", ";", "\t", "|"], config_only)]
    delimiter: String,
}

#[node(
    type = "csv-reader",
    category = "integration",
    color = "#DDAA99",
    icon = "fa-table",
    wants = ["req"],
    capabilities = ["files"]
)]
impl Node for CsvReader {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        ensure!(!config.path.is_empty(), "No file path specified");
        let bytes = cx.read_file(&config.path)?;
        let text = charset::decode(&bytes, None).context(&config.path)?;
        let delimiter = config.delimiter.bytes().next().unwrap_or(b',');
        let table = csv_log::table(&text, delimiter).context(&config.path)?;
        for (index, row) in table.rows().enumerate() {
            msg.set_payload(row).set("index", index);
            cx.emit(0, msg.clone())?;
        }
        msg.set("complete", true);
        cx.emit(0, msg)
    }
}
