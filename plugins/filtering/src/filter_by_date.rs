//! `filter-by-date`: lets pass what has a date between two others.

use probity_sdk::prelude::*;
use status_conventions::value::{kind, shown};

use crate::moment;

/// Lets pass what has a date from *Start* to *End*, both included; what has not leaves by the second output.
///
/// The payload is an object with the date in *Attribute*, or a list of such objects: then each one leaves as a message
/// of its own, in the order of the list, by the first output if its date is in the range, by the second if not; an empty
/// list leaves by the second output as it is.
///
/// Dates are ISO 8601 texts, milliseconds since 1970 and a few other ways of writing them; without a zone they are UTC.
/// An end without a time is the whole day. Without a start, or without an end, the range is open there.
///
/// A date that is missing or cannot be read is an error that names every such element, and nothing is sent: whether it
/// is in the range is unknown.
///
/// Wire the second output to an answer where an HTTP caller waits.
///
/// A caller may send `attribute`, `startDate` and `endDate` in the body of the request.
#[derive(Clone, Config)]
pub struct FilterByDate {
    /// Property with the date.
    #[config(label = "Attribute", default = "")]
    attribute: String,
    /// The first moment of the range; empty for none.
    #[config(name = "startDate", label = "Start", default = "", placeholder = "2024-03-01")]
    start: String,
    /// The last moment of the range, or its last day; empty for none.
    #[config(name = "endDate", label = "End", default = "", placeholder = "2024-03-31")]
    end: String,
    /// As node-red-status bc5d353 has it: what has no date that can be read is held back, without an error, and an end
    /// without a time is the first instant of its day.
    #[config(label = "As in node-red-status", default = false, config_only)]
    compat: bool,
}

#[node(
    type = "filter-by-date",
    category = "filtering",
    color = "#DDAA99",
    icon = "fa-calendar",
    outputs = ["in range", "held back"],
    wants = ["payload", "req"]
)]
impl Node for FilterByDate {
    fn process(&self, mut msg: Message, cx: &Context) -> Result<()> {
        let config = self.over(&msg)?;
        let range = config.range()?;
        match msg.payload() {
            Value::Array(list) if list.is_empty() => cx.emit(1, msg),
            Value::Array(list) => {
                let verdicts = config.verdicts(list, &range)?;
                let list = msg.payload_mut().take();
                let Value::Array(list) = list else { return Ok(()) };
                for (element, passes) in list.into_iter().zip(verdicts) {
                    let mut one = msg.clone();
                    one.set_payload(element);
                    cx.emit(u32::from(!passes), one)?;
                }
                Ok(())
            }
            one => {
                let passes = config.verdict(one, "msg.payload", &range)?;
                cx.emit(u32::from(!passes), msg)
            }
        }
    }
}

/// From the first to the last moment, milliseconds since 1970.
type Range = std::ops::RangeInclusive<i64>;

impl FilterByDate {
    fn range(&self) -> Result<Range> {
        ensure!(!(self.start.is_empty() && self.end.is_empty()), "neither startDate nor endDate: write at least one");
        let read = |name: &str, text: &str| {
            let what = || format!("{name} is \"{text}\": a date such as 2024-03-01 was expected");
            moment::of_text(text.trim()).context(what())
        };
        let start = if self.start.is_empty() { i64::MIN } else { read("startDate", &self.start)? };
        let end = match moment::end_of_day(&self.end).filter(|_| !self.compat) {
            Some(end) => end,
            None if self.end.is_empty() => i64::MAX,
            None => read("endDate", &self.end)?,
        };
        Ok(start..=end)
    }

    fn verdicts(&self, list: &[Value], range: &Range) -> Result<Vec<bool>> {
        let verdict = |(index, element)| self.verdict(element, &format!("msg.payload[{index}]"), range);
        let (mut verdicts, mut problems) = (Vec::with_capacity(list.len()), Vec::new());
        for found in list.iter().enumerate().map(verdict) {
            match found {
                Ok(passes) => verdicts.push(passes),
                Err(problem) => problems.push(problem.message().to_owned()),
            }
        }
        let more = problems.len().saturating_sub(10);
        problems.truncate(10);
        if more > 0 {
            problems.push(format!("and {more} more"));
        }
        ensure!(problems.is_empty(), "{}", problems.join("; "));
        Ok(verdicts)
    }

    fn verdict(&self, element: &Value, at: &str, range: &Range) -> Result<bool> {
        let found = element.get(&self.attribute);
        match found.and_then(moment::milliseconds) {
            Some(date) => Ok(range.contains(&date)),
            None if self.compat => Ok(false),
            None if !element.is_object() => bail!("{at} is {}: an object was expected", kind(element)),
            None => {
                let found = found.map_or("undefined".to_owned(), shown);
                bail!("{at}.{} is {found}: a date such as 2024-03-01T10:00:00Z was expected", self.attribute)
            }
        }
    }
}
