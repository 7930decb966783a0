//! Decimal numbers of databases as message values, without losing a digit.

use crate::model::Value;

/// A decimal text as a number if JavaScript's number of it prints as the same number, else as the text itself: `0.10`
/// is the number 0.1, `12345678901234567890` and `0.1000000000000000055` stay text.
pub fn exact(text: &str) -> Value {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() && parts(text).is_some() && parts(&format!("{number:e}")) == parts(text) => {
            Value::Number(number)
        }
        _ => text.into(),
    }
}

/// As [`exact`], for a whole number.
pub fn exact_integer(number: i64) -> Value {
    if (number as f64) as i128 == i128::from(number) && number.unsigned_abs() <= 1 << 53 {
        Value::Number(number as f64)
    } else {
        number.to_string().into()
    }
}

/// Sign, digits without zeros at either end, and the power of ten of the last digit: equal for equal numbers. `None`
/// when the text is no decimal.
fn parts(text: &str) -> Option<(bool, String, i64)> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = digits.trim_end_matches('0');
    let power = exponent - fraction.len() as i64 + (digits.len() - kept.len()) as i64;
    let kept = kept.trim_start_matches('0').to_string();
    Some(if kept.is_empty() { (false, kept, 0) } else { (negative, kept, power) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_one_only_if_nothing_is_lost() {
        for (text, number) in [
            ("0", Some(0.0)),
            ("0.10", Some(0.1)),
            ("-12.50", Some(-12.5)),
            ("100", Some(100.0)),
            ("1e3", Some(1000.0)),
            ("9007199254740992", Some(9_007_199_254_740_992.0)),
            ("9007199254740993", None),
            ("12345678901234567890", None),
            ("0.1000000000000000055511151231257827", None),
            ("123456789.123456789", Some(123_456_789.123_456_79)),
            ("1234567890.1234567890", None),
            ("NaN", None),
            ("Infinity", None),
        ] {
            // What is written with more digits than a double has stays text.
            let expected = match number {
                Some(number) if text != "123456789.123456789" => Value::Number(number),
                _ => Value::from(text),
            };
            assert_eq!(exact(text), expected, "{text}");
        }
        assert_eq!(exact_integer(9_007_199_254_740_993), Value::from("9007199254740993"));
        assert_eq!(exact_integer(i64::MAX), Value::from("9223372036854775807"));
        assert_eq!(exact_integer(-5), Value::Number(-5.0));
    }
}
