//! What is inside of gzip.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::MultiGzDecoder;

use crate::Unreadable;

/// The bytes inside, if it is gzip, else the bytes themselves. More than `max` bytes inside are refused.
pub fn inflate(bytes: &[u8], max: u64) -> Result<Cow<'_, [u8]>, Unreadable> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(Cow::Borrowed(bytes));
    }
    let mut inside = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(max.saturating_add(1)).read_to_end(&mut inside);
    read.map_err(|error| Unreadable::new(format!("its gzip is broken or cut ({error})")))?;
    if inside.len() as u64 > max {
        return Err(Unreadable::new(format!("more than {max} bytes are inside of its gzip")));
    }
    Ok(Cow::Owned(inside))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use super::*;

    #[test]
    fn gzip_is_opened_within_limits() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(&[b'x'; 100_000]).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(inflate(&packed, 100_000).unwrap().len(), 100_000);
        assert!(inflate(&packed, 99_999).unwrap_err().0.contains("more than 99999"));
        assert!(inflate(&packed[..packed.len() - 9], 1 << 20).unwrap_err().0.contains("cut"));
        assert_eq!(inflate(b"plain", 1).unwrap().as_ref(), b"plain");
    }
}
