//! What is told, in the form that each kind of channel takes.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use url::Url;
use uuid::Uuid;

use super::Channel;
use crate::model::state::Verdict;
use crate::store::{Notification, VerdictChange};

/// Changes that a text lists; the rest is counted.
const LISTED_MAX: usize = 20;

/// A notification on its way to a channel.
pub struct Message {
    pub id: Uuid,
    channel: String,
    recorded_at: Timestamp,
    changes: Vec<VerdictChange>,
    base: Option<Url>,
    zone: TimeZone,
}

impl Message {
    pub fn of(notification: &Notification, channel: &Channel, base: Option<&Url>) -> Message {
        Message {
            id: notification.id,
            channel: notification.channel.clone(),
            recorded_at: notification.recorded_at,
            changes: notification.changes.clone(),
            base: base.cloned(),
            zone: channel.time_zone.clone(),
        }
    }

    /// One line: `sla/fast: violated (was fulfilled)`, or how many changes of what.
    pub fn subject(&self) -> String {
        if let [change] = self.changes.as_slice() {
            return format!("{}: {}", name(change), verdicts(change));
        }
        let mut agreements: Vec<&str> = self.changes.iter().map(|change| change.agreement.as_str()).collect();
        agreements.dedup();
        let violated = self.changes.iter().filter(|change| change.after == Verdict::Violated).count();
        let of =
            if agreements.len() == 1 { agreements[0].to_string() } else { format!("{} agreements", agreements.len()) };
        format!("{of}: {} verdicts changed, {violated} violated", self.changes.len())
    }

    /// As people read it, in plain text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for change in self.changes.iter().take(LISTED_MAX) {
            text.push_str(&format!("{}: {}\n", name(change), verdicts(change)));
            if !change.scope.0.is_empty() {
                let scope: Vec<String> =
                    change.scope.0.iter().map(|(name, member)| format!("{name} {member}")).collect();
                text.push_str(&format!("  scope   {}\n", scope.join(", ")));
            }
            text.push_str(&format!("  window  {}\n", self.window(change)));
            if !change.reason.is_empty() {
                text.push_str(&format!("  why     {}\n", change.reason));
            }
            if let Some(link) = self.link(change) {
                text.push_str(&format!("  {link}\n"));
            }
            text.push('\n');
        }
        if self.changes.len() > LISTED_MAX {
            text.push_str(&format!("and {} more\n\n", self.changes.len() - LISTED_MAX));
        }
        text.push_str(&format!("Probity, channel {}, notification {}\n", self.channel, self.id));
        text
    }

    /// As programs read it.
    pub fn json(&self) -> Value {
        let change = |change: &VerdictChange| {
            let mut json = json!(change);
            if let Some(link) = self.link(change) {
                json["link"] = json!(link);
            }
            json
        };
        json!({
            "id": self.id,
            "type": "verdicts.changed",
            "channel": self.channel,
            "timestamp": self.recorded_at.to_string(),
            "changes": self.changes.iter().map(change).collect::<Vec<_>>(),
        })
    }

    /// As Slack's incoming webhooks take it.
    pub fn slack(&self) -> Value {
        let section = |text: String| json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } });
        let mut blocks = vec![section(format!("*{}*", escaped(&self.subject())))];
        for change in self.changes.iter().take(LISTED_MAX) {
            let title = escaped(&name(change));
            let title = self.link(change).map_or(title.clone(), |link| format!("<{}|{title}>", escaped(&link)));
            let mut text =
                format!("{} {title}: {}\n{}", mark(change.after), verdicts(change), escaped(&self.window(change)));
            if !change.reason.is_empty() {
                text.push_str(&format!("\n{}", escaped(&change.reason)));
            }
            // Slack refuses longer ones.
            blocks.push(section(text.chars().take(2_900).collect()));
        }
        if self.changes.len() > LISTED_MAX {
            blocks.push(section(format!("and {} more", self.changes.len() - LISTED_MAX)));
        }
        json!({ "text": escaped(&self.subject()), "blocks": blocks })
    }

    /// The window in the channel's time zone.
    fn window(&self, change: &VerdictChange) -> String {
        let at = |at: Timestamp| at.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M").to_string();
        let zone = self.zone.iana_name().unwrap_or("UTC");
        format!("{} to {} ({zone})", at(change.window.from), at(change.window.to))
    }

    /// The page of the verdict.
    fn link(&self, change: &VerdictChange) -> Option<String> {
        let base = self.base.as_ref()?;
        let mut url = base.clone();
        url.set_path(&format!("{}/probity/verdicts", base.path().trim_end_matches('/')));
        url.query_pairs_mut()
            .append_pair("agreement", &change.agreement)
            .append_pair("guarantee", &change.guarantee)
            .append_pair("from", &change.window.from.to_string())
            .append_pair("to", &change.window.to.to_string());
        Some(url.into())
    }
}

fn name(change: &VerdictChange) -> String {
    format!("{}/{}", change.agreement, change.guarantee)
}

fn verdicts(change: &VerdictChange) -> String {
    let before = match change.before {
        Some(before) if change.correction => format!("corrected, was {}", before.as_str()),
        Some(before) => format!("was {}", before.as_str()),
        None => "first verdict".into(),
    };
    format!("{} ({before})", change.after.as_str())
}

fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Fulfilled => ":white_check_mark:",
        Verdict::Violated => ":x:",
        Verdict::Unknown => ":grey_question:",
        Verdict::Waived => ":scroll:",
        Verdict::NotApplicable => ":heavy_minus_sign:",
    }
}

/// Slack's own three characters.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;
    use crate::model::state::{Scope, Window};
    use crate::notify::{Quiet, Target};

    fn change(guarantee: &str) -> VerdictChange {
        let at = |text: &str| text.parse().unwrap();
        VerdictChange {
            agreement: "sla".into(),
            guarantee: guarantee.into(),
            scope: Scope([("team".to_string(), "<a&b>".to_string())].into()),
            window: Window {
                from: at("2026-07-01T22:00:00Z"),
                to: at("2026-07-02T22:00:00Z"),
                from_local: String::new(),
                to_local: String::new(),
            },
            before: Some(Verdict::Fulfilled),
            after: Verdict::Violated,
            correction: false,
            value: Some(3.0),
            reason: "errors is 3, which is not <= 2".into(),
            run: RunId(Uuid::nil()),
        }
    }

    fn message(changes: Vec<VerdictChange>) -> Message {
        let at = "2026-07-02T22:00:01Z".parse().unwrap();
        let notification =
            Notification { id: Uuid::nil(), channel: "ops".into(), changes, recorded_at: at, attempts: 0 };
        let channel = Channel {
            target: Target::Mail { to: vec![] },
            quiet: Quiet::default(),
            time_zone: TimeZone::get("Europe/Madrid").unwrap(),
        };
        Message::of(&notification, &channel, Some(&"https://status.example/node-red/".parse().unwrap()))
    }

    #[test]
    fn people_read_what_changed_when_and_why() {
        let one = message(vec![change("fast")]);
        assert_eq!(one.subject(), "sla/fast: violated (was fulfilled)");
        let text = one.text();
        for part in [
            "sla/fast: violated (was fulfilled)",
            "2026-07-02 00:00 to 2026-07-03 00:00 (Europe/Madrid)",
            "errors is 3, which is not <= 2",
            "https://status.example/node-red/probity/verdicts?agreement=sla&guarantee=fast&from=2026-07-01T22%3A00%3A00Z",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let corrected = VerdictChange { correction: true, ..change("fast") };
        assert_eq!(message(vec![corrected]).subject(), "sla/fast: violated (corrected, was fulfilled)");
        let many = message((0..30).map(|n| change(&format!("g{n}"))).collect());
        assert_eq!(many.subject(), "sla: 30 verdicts changed, 30 violated");
        assert!(many.text().contains("and 10 more"));
    }

    #[test]
    fn slack_gets_its_own_characters_escaped() {
        let slack = message(vec![change("<!channel>")]).slack();
        let text = slack.to_string();
        assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!channel>"), "{text}");
        assert!(text.contains("not &lt;= 2"), "{text}");
        assert_eq!(
            message((0..60).map(|n| change(&n.to_string())).collect()).slack()["blocks"].as_array().unwrap().len(),
            22
        );
    }

    #[test]
    fn programs_get_every_change_with_an_id() {
        let json = message(vec![change("fast"), change("slow")]).json();
        assert_eq!(json["changes"].as_array().unwrap().len(), 2);
        assert_eq!(json["changes"][0]["before"], "fulfilled");
        assert_eq!(json["changes"][0]["after"], "violated");
        assert_eq!(json["type"], "verdicts.changed");
    }
}
