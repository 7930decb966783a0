//! Floor 1: the objective language: text to syntax tree, and its three-valued evaluation.
//!
//! | | |
//! |---|---|
//! | compare | `== != === !== < <= > >=` (no chains: `1 < A < 5` is refused) |
//! | compute | `+ - * / %`, unary `-` and `+` |
//! | decide | `and or not`, also `&& \|\| !`; `!` binds tightly as in JavaScript, `not` looser than comparisons |
//! | values | numbers, `'text'` or `"text"`, `true`, `false`, `null`, metric names (JavaScript identifiers) |
//! | functions | `min max abs round floor ceil sum avg count exists coalesce if` |
//!
//! Whatever has no value (a missing metric, `null`, `NaN`, an empty text, a division by zero) makes what is computed
//! from it undecided, with a reason; `false and ?` is still false and `true or ?` still true (Kleene's logic).
//! Only `exists`, `count` and `coalesce` look at the absence itself.
//!
//! What was computed is compared as the exact fraction that is written: `57 / 100 * 100` is 57, `0.1 + 0.2` is 0.3, and
//! 9,999,999,999,999,999 of 10,000,000,000,000,000 are not all. Beyond 63 bits, of what is no fraction, and of values
//! with more digits than that, 15 significant decimal digits count. Values as collected are compared as they are; a value that its source rounded decides nothing
//! that the rounding alone decides.

mod decide;
mod evaluate;
mod exact;
mod lex;
mod parse;
mod print;

pub use decide::{Distance, deciding, distance};
pub(crate) use evaluate::numeric;
pub use evaluate::{Operand, Outcome, evaluate, without_value};
pub use exact::{counted_text, decimal_sum, score, written};
pub use parse::{DEPTH_MAX, ExprError, LENGTH_MAX, parse};
pub use print::{compares_null, is_identifier, may_be_condition, metrics, number_text, print};

#[cfg(test)]
mod tests;
