//! JavaScript's answers, by hand and by `regress`; and time.

use super::*;

fn regexp(pattern: &str) -> RegExp {
    RegExp::new(pattern, false).unwrap_or_else(|e| panic!("{pattern}: {e}"))
}

#[test]
fn replacement_patterns_are_javascripts() {
    // Expected texts are node's.
    for (text, pattern, replacement, expected) in [
        ("Hello World", "(Hello)", "$1-$1-$1", "Hello-Hello-Hello World"),
        ("abc", "b", "[$&$$$`$']", "a[b$ac]c"),
        ("abc", "(b)", "$2$0$10$01", "a$2$0b0bc"),
        ("2026-11", "(?<y>\\d+)-(?<m>\\d+)", "$<m>/$<y>$<no>", "11/2026"),
        ("aaa", "a*?", "x", "xaxaxax"),
        ("aaa", "a*", "x", "xx"),
        ("a1b22", "\\d+", "#", "a#b#"),
        ("abc", "b", "$", "a$c"),
        ("é-é", "é", "e$", "e$-e$"),
        ("ab", "(?:(a)|b)+", "[$1]", "[]"),
        ("aXbX", "(?=X)", "-", "a-Xb-X"),
        ("'a' \"b\"", "(['\"])(.)\\1", "$2", "a b"),
        ("abab", "(?<x>a)|(?<z>b)", "$<z>", "bb"),
        ("x{1}", "{", "<", "x<1}"),
    ] {
        assert_eq!(regexp(pattern).replace_all(text, replacement).unwrap(), expected, "{pattern} {replacement}");
    }
    for (literal, replacement, expected) in [
        (".", "$&$&", "a..b..c"),
        (".", "-", "a-b-c"),
        (".", "$1$`", "a$1ab$1a.bc"),
        ("", "-", "-a-.-b-.-c-"),
        ("", "$$", "$a$.$b$.$c$"),
    ] {
        assert_eq!(replace_literal("a.b.c", literal, replacement), expected, "{literal} {replacement}");
    }
}

/// Matches and groups by Node.js 20, for patterns put together at random from two or three of fifty parts: classes,
/// groups, repetitions (of nothing, too), boundaries, lookaround, back references, letters with and without case.
#[derive(serde::Deserialize)]
struct Recorded {
    texts: Vec<String>,
    /// Pattern, whether case is ignored, and for each text what `RegExp.exec` found, in bytes.
    cases: Vec<(String, bool, Vec<Option<Groups>>)>,
}

type Groups = Vec<Option<(usize, usize)>>;

fn recorded() -> Recorded {
    serde_json::from_str(include_str!("../../tests/cases/regexp/node.json")).unwrap()
}

/// Translations, which are almost all patterns, find what JavaScript finds.
#[test]
fn translations_match_as_in_javascript() {
    let Recorded { texts, cases } = recorded();
    let (mut translated, mut exact) = (0, 0);
    for (pattern, ignore_case, expected) in &cases {
        let regexp = RegExp::new(pattern, *ignore_case).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        let Some(bounded) = &regexp.bounded else { continue };
        translated += 1;
        exact += usize::from(bounded.translated.same_matches);
        for (text, expected) in texts.iter().zip(expected) {
            let at = format!("/{pattern}/ ignoring case: {ignore_case}, on {text:?}, as {:?}", bounded.translated);
            assert_eq!(bounded.is_match(text), Ok(expected.is_some()), "{at}");
            let Some(expected) = expected.as_ref().filter(|_| bounded.translated.same_matches) else { continue };
            let found = bounded.find_from(text, 0).unwrap().unwrap();
            let pairs = |range: &Option<Range<usize>>| range.as_ref().map(|r| (r.start, r.end));
            let groups: Groups = std::iter::once(Some(found.range)).chain(found.groups).map(|r| pairs(&r)).collect();
            if bounded.translated.same_groups {
                assert_eq!(&groups, expected, "{at}");
            } else {
                assert_eq!(groups[0], expected[0], "{at}");
            }
        }
    }
    assert!(translated * 10 > cases.len() * 8, "only {translated} of {} were translated", cases.len());
    assert!(exact * 10 > cases.len() * 5, "only {exact} of {} are exact", cases.len());
}

/// `new RegExp(pattern, "i").test(text)`, by Node.js 20.
#[test]
fn case_is_ignored_as_in_javascript() {
    for (pattern, text, expected) in [
        ("k", "\u{212a}", false),
        ("\u{212a}", "k", false),
        ("s", "ſ", false),
        ("[a-z]", "ſ", false),
        ("ſ", "S", false),
        ("σ", "ς", true),
        ("Σ", "ς", true),
        ("[Α-Ω]", "ς", true),
        ("ß", "ẞ", false),
        ("é", "É", true),
        ("[à-ü]", "Ü", true),
        ("[^à-ü]", "Ü", false),
        ("\\w", "ſ", false),
        ("[^\\W]", "\u{212a}", false),
        ("ǆ", "ǅ", true),
        ("µ", "μ", true),
        ("i", "İ", false),
        ("ı", "I", false),
        ("AbC", "aBc", true),
        ("[a-c]+$", "xABC", true),
    ] {
        let regexp = RegExp::new(pattern, true).unwrap();
        assert!(regexp.bounded.is_some(), "{pattern}");
        assert_eq!(regexp.is_match(text), Ok(expected), "{pattern} {text}");
    }
}

#[test]
fn what_grows_exponentially_elsewhere_ends() {
    let text = format!("{}!", "a".repeat(5_000));
    for pattern in ["^(a+)+$", "^(a|aa)+$", "(a*)*b", "^([a-z]+\\s?)*$", "(.*a){20}$", "^(?:a?){30}a{30}$"] {
        let regexp = regexp(pattern);
        assert!(matches!(regexp.bounded, Some(Bounded { engine: Engine::Linear(_), .. })), "{pattern}");
        assert_eq!(regexp.is_match(&text), Ok(false), "{pattern}");
        assert_eq!(regexp.replace_all(&text, "$1").as_ref(), Ok(&text), "{pattern}");
    }
    for pattern in ["^(?=(a+)+$)a", "^(a+)+\\b(?!x)$", "^(['\"])?(a+)+\\1$"] {
        let regexp = regexp(pattern);
        assert!(matches!(regexp.bounded, Some(Bounded { engine: Engine::Limited(_), .. })), "{pattern}");
        // Given up or found out; either is an answer.
        assert_ne!(regexp.is_match(&text), Ok(true), "{pattern}");
    }
}

#[test]
fn what_has_no_translation_still_works() {
    for (pattern, text) in
        [("\\07", "\u{7}"), ("a{", "a{"), ("\\k", "k"), ("(?:(a)|b)*\\1c", "bac"), ("(?<=(a))b", "ab"), ("\\a", "a")]
    {
        let regexp = regexp(pattern);
        assert!(regexp.bounded.is_none(), "{pattern}: {:?}", regexp.bounded);
        assert_eq!(regexp.is_match(text), Ok(true), "{pattern}");
    }
    assert!(RegExp::new("(", false).is_err());
}
