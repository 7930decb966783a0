//! Where a run stands among the traces of other services: W3C Trace Context (`traceparent`), and the ids of our spans.
//!
//! A run that nobody handed a trace begins one whose id is its own. Its span's id is the second half of the run's id,
//! which is random; steps count on from there, so that whoever knows a run knows its spans.

use std::fmt;

use super::RunId;

/// A caller's span, or ours as others are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    pub trace: u128,
    pub span: u64,
    /// Whether who began the trace keeps it.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads a `traceparent` header (<https://www.w3.org/TR/trace-context/>, version 00 and what later versions keep of
    /// it); `None` for what is none, which is as if there were no header.
    pub fn parse(header: &[u8]) -> Option<TraceParent> {
        let text = std::str::from_utf8(header).ok()?.trim();
        let mut parts = text.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next()?;
            let lower = part.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
            (part.len() == digits && lower).then_some(part)
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let more = parts.next().is_some();
        if version == "ff" || (version == "00" && more) {
            return None;
        }
        let trace = u128::from_str_radix(trace, 16).ok().filter(|id| *id != 0)?;
        let span = u64::from_str_radix(span, 16).ok().filter(|id| *id != 0)?;
        let flags = u8::from_str_radix(flags, 16).ok()?;
        Some(TraceParent { trace, span, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl RunId {
    /// The id of the trace that a run begins.
    pub fn trace(self) -> u128 {
        self.0.as_u128()
    }

    /// The id of the run's span.
    pub fn span(self) -> u64 {
        // The variant bits of a UUID are never all zero.
        self.0.as_u128() as u64
    }

    /// The id of the span of a step, by its place in the run's trace.
    pub fn step_span(self, step: usize) -> u64 {
        match self.span().wrapping_add(step as u64 + 1) {
            0 => u64::MAX,
            id => id,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_as_the_recommendation_says() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let parent = TraceParent::parse(valid.as_bytes()).unwrap();
        assert_eq!((parent.to_string().as_str(), parent.sampled), (valid, true));
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what-the-future-will-be-like";
        assert!(!TraceParent::parse(later.as_bytes()).unwrap().sampled);
        for none in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
            "\u{e9}0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceParent::parse(none.as_bytes()), None, "{none}");
        }
    }

    #[test]
    fn spans_of_a_run_differ() {
        let run = RunId::fresh();
        assert_ne!(run.span(), 0);
        assert_ne!(run.span(), run.step_span(0));
        assert_ne!(run.step_span(0), run.step_span(1));
    }
}
