//! Topics and filters: what may be published to, what may be subscribed to, what a filter takes.

/// Whether a message may be published to this topic.
pub(super) fn may_publish(topic: &str) -> bool {
    let barred = ['+', '#', '\u{8}', '\u{c}', '\n', '\r', '\t', '\u{b}', '\0'];
    !topic.is_empty() && topic.len() <= 65_535 && !topic.contains(barred)
}

/// Whether this filter may be subscribed to: `+` and `#` stand for whole levels, `#` only for the last.
pub(super) fn may_subscribe(filter: &str) -> bool {
    if filter.is_empty() || filter.len() > 65_535 || filter.contains('\0') {
        return false;
    }
    let levels: Vec<&str> = filter.split('/').collect();
    levels.iter().enumerate().all(|(at, level)| match *level {
        "+" => true,
        "#" => at + 1 == levels.len(),
        other => !other.contains(['+', '#']),
    })
}

/// Whether a filter takes a topic. `$share/NAME/` before it says only who else takes it.
pub(super) fn takes(filter: &str, topic: &str) -> bool {
    let filter = match filter.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
        Some((_, shared)) => shared,
        None => filter,
    };
    // What servers say of themselves is taken only by those who ask for it (MQTT 4.7.2).
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    let (mut wanted, mut levels) = (filter.split('/'), topic.split('/'));
    loop {
        match (wanted.next(), levels.next()) {
            (Some("#"), _) | (None, None) => return true,
            (Some("+"), Some(_)) => {}
            (Some(want), Some(level)) if want == level => {}
            // The level above `#` is taken, too.
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_take_what_the_standard_says() {
        for (filter, topic, taken) in [
            ("a/b", "a/b", true),
            ("a/b", "a/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a/b/c", false),
            ("a/+", "a/", true),
            ("+", "a", true),
            ("+/+", "/a", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("$share/g/a/+", "a/b", true),
            ("a.c", "abc", false),
        ] {
            assert_eq!(takes(filter, topic), taken, "{filter} {topic}");
        }
    }

    #[test]
    fn topics_and_filters_are_checked() {
        for (filter, fine) in
            [("a/b", true), ("#", true), ("a/#", true), ("+/a/+", true), ("", false), ("a/#/b", false)]
        {
            assert_eq!(may_subscribe(filter), fine, "{filter}");
        }
        for filter in ["a#", "a+/b", "a/b#"] {
            assert!(!may_subscribe(filter), "{filter}");
        }
        for (topic, fine) in [("a/b", true), ("", false), ("a/+", false), ("#", false), ("a\nb", false)] {
            assert_eq!(may_publish(topic), fine, "{topic}");
        }
    }
}
