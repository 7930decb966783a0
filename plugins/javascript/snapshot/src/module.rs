//! A WASM module with another initial memory. Numbers and sections: WebAssembly Core Specification 2.0, chapter 5.

use anyhow::{Context, Result, bail, ensure};

const PAGE: usize = 65_536;
/// Zeros that are worth beginning a new segment for, bytes.
const GAP: usize = 64;

const MEMORY: u8 = 5;
const GLOBAL: u8 = 6;
const START: u8 = 8;
const DATA: u8 = 11;
const DATA_COUNT: u8 = 12;

/// `wasm` with `memory` as what its memory holds at first. Of everything else that a run changes it knows the stack
/// pointer, which is back where it was when a function has returned; a module with more state is refused.
pub fn with_memory(wasm: &[u8], memory: &[u8]) -> Result<Vec<u8>> {
    ensure!(wasm.starts_with(b"\0asm\x01\0\0\0"), "no core module");
    let segments = segments(memory);
    let mut out = wasm[..8].to_vec();
    let mut rest = &wasm[8..];
    while let Some((&id, after)) = rest.split_first() {
        rest = after;
        let size = number(&mut rest)?;
        let (content, after) = rest.split_at_checked(size).context("a section is cut off")?;
        rest = after;
        match id {
            MEMORY => section(&mut out, id, &memory_type(content, memory.len() / PAGE)?),
            DATA_COUNT => section(&mut out, id, &leb(segments.len())),
            DATA => section(&mut out, id, &data(memory, &segments)),
            START => bail!("has a start function, which would run again"),
            GLOBAL => {
                let mutable = mutable_globals(content)?;
                ensure!(mutable <= 1, "has {mutable} globals that change, only the stack pointer was expected");
                section(&mut out, id, content);
            }
            _ => section(&mut out, id, content),
        }
    }
    Ok(out)
}

/// The ranges of memory that are not zero.
fn segments(memory: &[u8]) -> Vec<(usize, usize)> {
    let mut found: Vec<(usize, usize)> = Vec::new();
    for (at, _) in memory.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        match found.last_mut() {
            Some((_, end)) if at - *end < GAP => *end = at + 1,
            _ => found.push((at, at + 1)),
        }
    }
    found
}

fn data(memory: &[u8], segments: &[(usize, usize)]) -> Vec<u8> {
    let mut out = leb(segments.len());
    for (start, end) in segments {
        // Active, of memory 0, at `i32.const start`.
        out.extend([0, 0x41]);
        out.extend(signed_leb(*start as i64));
        out.push(0x0b);
        out.extend(leb(end - start));
        out.extend_from_slice(&memory[*start..*end]);
    }
    out
}

/// The section's one memory, as large as it has become.
fn memory_type(content: &[u8], pages: usize) -> Result<Vec<u8>> {
    let mut rest = content;
    ensure!(number(&mut rest)? == 1, "has not one memory");
    let (&flags, mut rest) = rest.split_first().context("a memory without limits")?;
    number(&mut rest)?;
    let mut out = vec![1, flags];
    out.extend(leb(pages));
    out.extend_from_slice(rest);
    Ok(out)
}

fn mutable_globals(content: &[u8]) -> Result<usize> {
    let mut rest = content;
    let mut mutable = 0;
    for _ in 0..number(&mut rest)? {
        let ([_, changes, constant], after) = rest.split_first_chunk().context("a global is cut off")?;
        ensure!(matches!(constant, 0x41 | 0x42), "a global is no number");
        rest = after;
        number(&mut rest)?;
        ensure!(rest.first() == Some(&0x0b), "a global's start is no single number");
        rest = &rest[1..];
        mutable += usize::from(*changes == 1);
    }
    Ok(mutable)
}

fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    out.extend(leb(content.len()));
    out.extend_from_slice(content);
}

/// Reads a number (LEB128); of a signed one only where it ends is of use.
fn number(rest: &mut &[u8]) -> Result<usize> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first().context("a number is cut off")?;
        *rest = after;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number is too long")
}

fn leb(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

fn signed_leb(mut value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && byte & 0x40 == 0) || (value == -1 && byte & 0x40 != 0) {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_zero_is_written() {
        let mut memory = vec![0; PAGE];
        memory[3] = 1;
        memory[10] = 2;
        memory[500..600].fill(7);
        assert_eq!(segments(&memory), [(3, 11), (500, 600)]);
        assert_eq!(data(&memory, &[(3, 4)]), [1, 0, 0x41, 3, 0x0b, 1, 1]);
    }

    #[test]
    fn numbers_are_written_as_they_are_read() {
        for value in [0, 1, 63, 64, 127, 128, 300, 65_536, 1 << 31] {
            let bytes = leb(value);
            let mut rest = &bytes[..];
            assert_eq!(number(&mut rest).unwrap(), value);
            assert!(rest.is_empty());
        }
        assert_eq!(signed_leb(64), [0xc0, 0]);
        assert_eq!(signed_leb(-1), [0x7f]);
    }

    #[test]
    fn a_module_keeps_everything_but_its_memory() {
        // (module (memory 1) (data (i32.const 0) "a"))
        let wasm = [0, b'a', b's', b'm', 1, 0, 0, 0, 5, 3, 1, 0, 1, 11, 7, 1, 0, 0x41, 0, 0x0b, 1, b'a'];
        let mut memory = vec![0; 2 * PAGE];
        memory[1] = b'b';
        let done = with_memory(&wasm, &memory).unwrap();
        assert_eq!(done[8..], [5, 3, 1, 0, 2, 11, 7, 1, 0, 0x41, 1, 0x0b, 1, b'b']);
        assert!(with_memory(&wasm[..20], &memory).is_err());
        assert!(with_memory(b"\0asm\x0d\0\x01\0", &memory).is_err());
    }
}
