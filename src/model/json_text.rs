//! JSON text as `JSON.stringify` writes it: numbers the JavaScript way (`1e+21`, `0.000001`).

use std::io;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use super::Value;

impl Value {
    /// As JSON text, the way `JSON.stringify` would write it.
    pub fn to_json(&self) -> String {
        write(self, CompactFormatter)
    }

    /// As JSON text with line breaks, indented by this many spaces, as `JSON.stringify(x, null, n)`.
    pub fn to_json_pretty(&self, indent: usize) -> String {
        write(self, PrettyFormatter::with_indent(" ".repeat(indent).as_bytes()))
    }
}

fn write(value: &Value, layout: impl Formatter) -> String {
    let mut out = Vec::with_capacity(128);
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Numbers(layout));
    match value.serialize(&mut serializer).map(|()| String::from_utf8(out)) {
        Ok(Ok(text)) => text,
        _ => "null".into(),
    }
}

/// A layout with JavaScript's numbers.
struct Numbers<F>(F);

impl<F: Formatter> Formatter for Numbers<F> {
    fn write_f64<W: ?Sized + io::Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(ryu_js::Buffer::new().format_finite(value).as_bytes())
    }
    fn begin_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }
    fn end_array<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }
    fn end_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }
    fn begin_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }
    fn end_object<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }
    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }
    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }
    fn end_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_javascripts() {
        for (n, text) in [(1e21, "1e+21"), (1e-7, "1e-7"), (1e-6, "0.000001"), (1e20, "100000000000000000000")] {
            assert_eq!(Value::Number(n).to_json(), text);
        }
        assert_eq!(Value::Number(f64::NAN).to_json(), "null");
        assert_eq!(Value::from_json(r#"{"a":[1,{}]}"#).unwrap().to_json_pretty(1), "{\n \"a\": [\n  1,\n  {}\n ]\n}");
    }
}
