//! What is wrong with a text that is no JSON, in the words of Node.js: flows compare and show them.

/// Characters before and after a token that its message shows.
const SHOWN: usize = 10;

/// Node.js' message for a text that is no JSON; `None` for one that is.
pub fn problem(text: &str) -> Option<String> {
    // JavaScript counts in units of 16 bits.
    let units: Vec<u16> = text.encode_utf16().collect();
    let mut reader = Reader { units: &units, at: 0 };
    reader.document().err().map(|wrong| wrong.said(&units))
}

enum Wrong {
    End,
    /// Something that stands where nothing like it may.
    Token(usize),
    At(&'static str, usize),
}

impl Wrong {
    fn said(self, units: &[u16]) -> String {
        let text = |from: usize, to: usize| String::from_utf16_lossy(&units[from..to]);
        match self {
            Wrong::End => "Unexpected end of JSON input".into(),
            Wrong::At(what, at) => {
                let before = &units[..at];
                let line = 1 + before.iter().filter(|u| **u == u16::from(b'\n')).count();
                let start = before.iter().rposition(|u| *u == u16::from(b'\n')).map_or(0, |end| end + 1);
                let within = if what.ends_with("JSON") { "" } else { " in JSON" };
                format!("{what}{within} at position {at} (line {line} column {})", at - start + 1)
            }
            Wrong::Token(at) => {
                let (all, token) = (units.len(), text(at, at + 1));
                if matches!(text(0, all).as_str(), "NaN" | "Infinity" | "undefined" | "[object Object]") {
                    return format!("\"{}\" is not valid JSON", text(0, all));
                }
                let (from, to) = match all > 2 * SHOWN {
                    true => (at.saturating_sub(SHOWN), (at + SHOWN).min(all)),
                    false => (0, all),
                };
                let (before, after) = (if from > 0 { "..." } else { "" }, if to < all { "..." } else { "" });
                format!("Unexpected token '{token}', {before}\"{}\"{after} is not valid JSON", text(from, to))
            }
        }
    }
}

/// What an array or object may go on with.
enum Open {
    Array,
    Object,
}

struct Reader<'u> {
    units: &'u [u16],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        // What is not ASCII is no token, whatever it is.
        self.units.get(self.at).map(|unit| u8::try_from(*unit).unwrap_or(0xff))
    }

    fn skip_blanks(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
        self.peek()
    }

    /// What stands here is not what may stand here.
    fn unexpected(&self) -> Wrong {
        match self.peek() {
            None => Wrong::End,
            Some(b'"') => Wrong::At("Unexpected string", self.at),
            Some(b'0'..=b'9' | b'-') => Wrong::At("Unexpected number", self.at),
            Some(_) => Wrong::Token(self.at),
        }
    }

    fn document(&mut self) -> Result<(), Wrong> {
        let mut open: Vec<Open> = Vec::new();
        loop {
            match self.skip_blanks() {
                Some(b'[') => {
                    self.at += 1;
                    if self.skip_blanks() != Some(b']') {
                        open.push(Open::Array);
                        continue;
                    }
                    self.at += 1;
                }
                Some(b'{') => {
                    self.at += 1;
                    if self.skip_blanks() != Some(b'}') {
                        self.name("Expected property name or '}'")?;
                        open.push(Open::Object);
                        continue;
                    }
                    self.at += 1;
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                Some(b't') => self.word(b"true")?,
                Some(b'f') => self.word(b"false")?,
                Some(b'n') => self.word(b"null")?,
                _ => return Err(self.unexpected()),
            }
            // A value is over: so may be what it is in.
            loop {
                let next = self.skip_blanks();
                match (open.last(), next) {
                    (None, None) => return Ok(()),
                    (None, Some(_)) => {
                        return Err(Wrong::At("Unexpected non-whitespace character after JSON", self.at));
                    }
                    (Some(Open::Array), Some(b',')) => {
                        self.at += 1;
                        break;
                    }
                    (Some(Open::Object), Some(b',')) => {
                        self.at += 1;
                        self.skip_blanks();
                        self.name("Expected double-quoted property name")?;
                        break;
                    }
                    (Some(Open::Array), Some(b']')) | (Some(Open::Object), Some(b'}')) => {
                        self.at += 1;
                        open.pop();
                    }
                    (Some(Open::Array), _) => {
                        return Err(Wrong::At("Expected ',' or ']' after array element", self.at));
                    }
                    (Some(Open::Object), _) => {
                        return Err(Wrong::At("Expected ',' or '}' after property value", self.at));
                    }
                }
            }
        }
    }

    /// A property's name and the colon behind it.
    fn name(&mut self, expected: &'static str) -> Result<(), Wrong> {
        if self.peek() != Some(b'"') {
            return Err(Wrong::At(expected, self.at));
        }
        self.string()?;
        if self.skip_blanks() != Some(b':') {
            return Err(Wrong::At("Expected ':' after property name", self.at));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Wrong> {
        for letter in word {
            if self.peek() != Some(*letter) {
                return Err(self.unexpected());
            }
            self.at += 1;
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        self.at - from
    }

    fn number(&mut self) -> Result<(), Wrong> {
        if self.peek() == Some(b'-') {
            self.at += 1;
            if !matches!(self.peek(), Some(b'0'..=b'9')) {
                return Err(Wrong::At("No number after minus sign", self.at));
            }
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
            if let Some(b'0'..=b'9') = self.peek() {
                return Err(Wrong::At("Unexpected number", self.at));
            }
        } else {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(Wrong::At("Unterminated fractional number", self.at));
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(Wrong::At("Exponent part is missing a number", self.at));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Wrong> {
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(Wrong::At("Unterminated string", self.at)),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
                        Some(b'u') => {
                            self.at += 1;
                            for _ in 0..4 {
                                if !self.peek().is_some_and(|digit| digit.is_ascii_hexdigit()) {
                                    return Err(Wrong::At("Bad Unicode escape", self.at));
                                }
                                self.at += 1;
                            }
                        }
                        None => return Err(Wrong::End),
                        Some(_) => return Err(Wrong::At("Bad escaped character", self.at)),
                    }
                }
                Some(0..0x20) => return Err(Wrong::At("Bad control character in string literal", self.at)),
                Some(_) => self.at += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Node.js 22 says it.
    #[test]
    fn what_is_wrong_is_said_as_node_js_says_it() {
        for (text, said) in [
            ("", "Unexpected end of JSON input"),
            ("[", "Unexpected end of JSON input"),
            ("{\"a\":", "Unexpected end of JSON input"),
            ("tru", "Unexpected end of JSON input"),
            ("text", "Unexpected token 'e', \"text\" is not valid JSON"),
            ("x", "Unexpected token 'x', \"x\" is not valid JSON"),
            ("undefined", "\"undefined\" is not valid JSON"),
            ("[object Object]", "\"[object Object]\" is not valid JSON"),
            ("[1,]", "Unexpected token ']', \"[1,]\" is not valid JSON"),
            ("[1", "Expected ',' or ']' after array element in JSON at position 2 (line 1 column 3)"),
            ("{", "Expected property name or '}' in JSON at position 1 (line 1 column 2)"),
            ("{'a':1}", "Expected property name or '}' in JSON at position 1 (line 1 column 2)"),
            ("{\"a\"", "Expected ':' after property name in JSON at position 4 (line 1 column 5)"),
            ("{\"a\":1", "Expected ',' or '}' after property value in JSON at position 6 (line 1 column 7)"),
            ("{\"a\":1,}", "Expected double-quoted property name in JSON at position 7 (line 1 column 8)"),
            (
                "{\n\"a\": 1\n\"b\": 2}",
                "Expected ',' or '}' after property value in JSON at position 9 (line 3 column 1)",
            ),
            ("1 2", "Unexpected non-whitespace character after JSON at position 2 (line 1 column 3)"),
            ("\"abc", "Unterminated string in JSON at position 4 (line 1 column 5)"),
            ("\"\\", "Unexpected end of JSON input"),
            ("\"a\nb\"", "Bad control character in string literal in JSON at position 2 (line 1 column 3)"),
            ("\"\\x\"", "Bad escaped character in JSON at position 2 (line 1 column 3)"),
            ("\"\\u12\"", "Bad Unicode escape in JSON at position 5 (line 1 column 6)"),
            ("01", "Unexpected number in JSON at position 1 (line 1 column 2)"),
            ("-", "No number after minus sign in JSON at position 1 (line 1 column 2)"),
            ("1.", "Unterminated fractional number in JSON at position 2 (line 1 column 3)"),
            ("1e", "Exponent part is missing a number in JSON at position 2 (line 1 column 3)"),
            ("this is no JSON but a long text", "Unexpected token 'h', \"this is no \"... is not valid JSON"),
            (
                "{\"a long name\": 1, \"b\": nonsense, \"c\": 3}",
                "Unexpected token 'o', ...\" 1, \"b\": nonsense, \"\"... is not valid JSON",
            ),
        ] {
            assert_eq!(problem(text).as_deref(), Some(said), "{text}");
        }
        for text in ["{}", " [1, -2.5e+3, \"a\\u00e9\\n\", true, false, null, {\"a\": []}] ", "\"😀\""] {
            assert_eq!(problem(text), None, "{text}");
        }
    }

    #[test]
    fn it_finds_fault_with_what_the_parser_finds_fault_with() {
        let pieces =
            ["{", "}", "[", "]", ",", ":", "\"a\"", "\"", "1", "-", ".", "e5", "0", "true", "nul", " ", "\\", "é"];
        let mut seed = 7_u32;
        for _ in 0..20_000 {
            let mut text = String::new();
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for _ in 0..(seed >> 16) % 7 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                text.push_str(pieces[(seed >> 16) as usize % pieces.len()]);
            }
            let parsed = match serde_json::from_str::<serde_json::Value>(&text) {
                // A number may be too large for us, and is JSON all the same.
                Err(error) if error.to_string().contains("out of range") => continue,
                parsed => parsed.is_ok(),
            };
            assert_eq!(problem(&text).is_none(), parsed, "{text}");
        }
    }
}
