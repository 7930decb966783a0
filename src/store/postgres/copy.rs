//! Rows for `COPY … FROM STDIN (FORMAT binary)`: what a server reads fastest, and without any quoting.

use jiff::Timestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use super::instant::Instant;

/// Begins every stream: signature, flags, length of the extension.
const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Sent at once, bytes.
const SENT_BYTES: usize = 256 * 1024;

/// A field of a row, in the form the server's `…recv` functions read.
pub(super) enum Field<'a> {
    Uuid(Uuid),
    /// `text` or `json`.
    Text(&'a str),
    Jsonb(&'a str),
    /// `jsonb` or `json` that this appends.
    JsonbOf(&'a dyn Fn(&mut Vec<u8>)),
    JsonOf(&'a dyn Fn(&mut Vec<u8>)),
    Bytes(&'a [u8]),
    Instant(Timestamp),
    Float(f64),
    Int(i32),
    BigInt(i64),
    Bool(bool),
    Null,
}

impl<'a> Field<'a> {
    /// NULL for none.
    pub fn optional<T>(value: Option<T>, field: impl FnOnce(T) -> Field<'a>) -> Field<'a> {
        value.map_or(Field::Null, field)
    }
}

/// Rows on their way into a table.
pub(super) struct Rows {
    buffer: Vec<u8>,
    columns: i16,
}

impl Rows {
    /// Of tables with this many columns.
    pub fn new(columns: i16) -> Rows {
        let mut buffer = Vec::with_capacity(SENT_BYTES + 4096);
        buffer.extend_from_slice(HEADER);
        Rows { buffer, columns }
    }

    pub fn begin_row(&mut self) {
        self.buffer.extend_from_slice(&self.columns.to_be_bytes());
    }

    pub fn field(&mut self, field: Field<'_>) {
        match field {
            Field::Uuid(value) => self.bytes(value.as_bytes()),
            Field::Text(value) => self.bytes(value.as_bytes()),
            Field::Jsonb(value) => {
                // The version of the form comes first.
                self.length(value.len() + 1);
                self.buffer.push(1);
                self.buffer.extend_from_slice(value.as_bytes());
            }
            Field::JsonbOf(write) => self.appended(&|buffer| {
                buffer.push(1);
                write(buffer);
            }),
            Field::JsonOf(write) => self.appended(write),
            Field::Bytes(value) => self.bytes(value),
            Field::Instant(value) => self.bytes(&Instant(value).micros().to_be_bytes()),
            Field::Float(value) => self.bytes(&value.to_be_bytes()),
            Field::Int(value) => self.bytes(&value.to_be_bytes()),
            Field::BigInt(value) => self.bytes(&value.to_be_bytes()),
            Field::Bool(value) => self.bytes(&[u8::from(value)]),
            Field::Null => self.buffer.extend_from_slice(&(-1i32).to_be_bytes()),
        }
    }

    /// A field of as many bytes as are appended.
    fn appended(&mut self, write: &dyn Fn(&mut Vec<u8>)) {
        self.length(0);
        let begin = self.buffer.len();
        write(&mut self.buffer);
        let length = i32::try_from(self.buffer.len() - begin).unwrap_or(i32::MAX);
        self.buffer[begin - 4..begin].copy_from_slice(&length.to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// A field beyond what the protocol can say is refused by the server: its message is larger than a gigabyte.
    fn length(&mut self, bytes: usize) {
        self.buffer.extend_from_slice(&i32::try_from(bytes).unwrap_or(i32::MAX).to_be_bytes());
    }

    /// What is worth sending by now, and nothing otherwise.
    fn full(&mut self) -> Option<Vec<u8>> {
        (self.buffer.len() >= SENT_BYTES)
            .then(|| std::mem::replace(&mut self.buffer, Vec::with_capacity(SENT_BYTES + 4096)))
    }

    /// The rest, and the end of the stream.
    fn rest(mut self) -> Vec<u8> {
        self.buffer.extend_from_slice(&(-1i16).to_be_bytes());
        self.buffer
    }
}

/// Copies items into a table; `write` adds the row of one. `columns` are the table's with their names.
pub(super) async fn copy<T>(
    tx: &mut PgConnection,
    table: &str,
    columns: &[&str],
    items: &[T],
    write: impl Fn(&T, &mut Rows),
) -> Result<(), sqlx::Error> {
    let statement = format!("COPY {table} ({}) FROM STDIN (FORMAT binary)", columns.join(", "));
    let mut rows = Rows::new(i16::try_from(columns.len()).expect("tables have few columns"));
    let mut copy = tx.copy_in_raw(&statement).await?;
    for item in items {
        rows.begin_row();
        write(item, &mut rows);
        if let Some(full) = rows.full() {
            copy.send(full).await?;
        }
    }
    copy.send(rows.rest()).await?;
    copy.finish().await?;
    Ok(())
}
