//! The templates of Declare and what each is made of.
//!
//! The set and its names: M. Pesic, H. Schonenberg, W. van der Aalst, "DECLARE: Full Support for Loosely-Structured
//! Processes", EDOC 2007; the negative ones as in A. Burattin, F. Maggi, A. Sperduti, "Conformance checking based on
//! multi-perspective declarative process models", Expert Systems with Applications 65 (2016). On finite traces: C. Di
//! Ciccio, M. Montali, "Declarative Process Specifications: Reasoning, Discovery, Monitoring", Process Mining Handbook,
//! 2022; so `precedence` and its kin hold B to have an A *before* it, also at the first event.

use probity_sdk::Config;

/// A template of Declare. A is the node's `activity`, B its `otherActivity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Config)]
pub enum Template {
    /// A occurs at least n times.
    Existence,
    /// A occurs at most n - 1 times; with n = 1 never.
    Absence,
    /// A occurs exactly n times.
    Exactly,
    /// The first event is A.
    Init,
    /// The last event is A.
    End,
    /// A or B occurs, or both.
    Choice,
    /// A or B occurs, not both.
    ExclusiveChoice,
    /// If A occurs, B occurs, before or after.
    RespondedExistence,
    /// A and B both occur or neither does.
    CoExistence,
    /// After each A there is a B.
    Response,
    /// Before each B there is an A.
    Precedence,
    /// Response and precedence.
    Succession,
    /// After each A there is a B before the next A.
    AlternateResponse,
    /// Before each B there is an A after the last B before it.
    AlternatePrecedence,
    /// Alternate response and alternate precedence.
    AlternateSuccession,
    /// The event after each A is B.
    ChainResponse,
    /// The event before each B is A.
    ChainPrecedence,
    /// Chain response and chain precedence.
    ChainSuccession,
    /// If A occurs, B does not.
    NotRespondedExistence,
    /// A and B do not both occur.
    NotCoExistence,
    /// After no A there is a B.
    NotResponse,
    /// Before no B there is an A.
    NotPrecedence,
    /// Not response and not precedence.
    NotSuccession,
    /// The event after an A is never B.
    NotChainResponse,
    /// The event before a B is never A.
    NotChainPrecedence,
    /// Not chain response and not chain precedence.
    NotChainSuccession,
}

/// How near a B must be to an A for the two to belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nearness {
    /// Anywhere in the trace.
    Anywhere,
    /// Later (an A's B) or earlier (a B's A).
    InOrder,
    /// In order, with no other event of the activation's own activity between.
    Alternating,
    /// In order, with no event between.
    Adjacent,
}

/// A relation between two activities: each activation must (or must not) have its partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation {
    pub nearness: Nearness,
    /// Each A is an activation.
    pub of_a: bool,
    /// Each B is an activation.
    pub of_b: bool,
    /// The partner must not be there.
    pub negative: bool,
}

/// What a template says about a trace as a whole; it is activated once, by the trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whole {
    Existence,
    Absence,
    Exactly,
    Init,
    End,
    Choice,
    ExclusiveChoice,
}

/// The two kinds of templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Whole(Whole),
    Relation(Relation),
}

impl Template {
    /// Every template.
    pub const ALL: [Self; 26] = [
        Self::Existence,
        Self::Absence,
        Self::Exactly,
        Self::Init,
        Self::End,
        Self::Choice,
        Self::ExclusiveChoice,
        Self::RespondedExistence,
        Self::CoExistence,
        Self::Response,
        Self::Precedence,
        Self::Succession,
        Self::AlternateResponse,
        Self::AlternatePrecedence,
        Self::AlternateSuccession,
        Self::ChainResponse,
        Self::ChainPrecedence,
        Self::ChainSuccession,
        Self::NotRespondedExistence,
        Self::NotCoExistence,
        Self::NotResponse,
        Self::NotPrecedence,
        Self::NotSuccession,
        Self::NotChainResponse,
        Self::NotChainPrecedence,
        Self::NotChainSuccession,
    ];

    /// As flows write it, for example `chain-response`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Existence => "existence",
            Self::Absence => "absence",
            Self::Exactly => "exactly",
            Self::Init => "init",
            Self::End => "end",
            Self::Choice => "choice",
            Self::ExclusiveChoice => "exclusive-choice",
            Self::RespondedExistence => "responded-existence",
            Self::CoExistence => "co-existence",
            Self::Response => "response",
            Self::Precedence => "precedence",
            Self::Succession => "succession",
            Self::AlternateResponse => "alternate-response",
            Self::AlternatePrecedence => "alternate-precedence",
            Self::AlternateSuccession => "alternate-succession",
            Self::ChainResponse => "chain-response",
            Self::ChainPrecedence => "chain-precedence",
            Self::ChainSuccession => "chain-succession",
            Self::NotRespondedExistence => "not-responded-existence",
            Self::NotCoExistence => "not-co-existence",
            Self::NotResponse => "not-response",
            Self::NotPrecedence => "not-precedence",
            Self::NotSuccession => "not-succession",
            Self::NotChainResponse => "not-chain-response",
            Self::NotChainPrecedence => "not-chain-precedence",
            Self::NotChainSuccession => "not-chain-succession",
        }
    }

    /// What it is made of.
    pub fn kind(self) -> Kind {
        use Nearness::{Adjacent, Alternating, Anywhere, InOrder};
        let relation = |nearness, of_a, of_b| Kind::Relation(Relation { nearness, of_a, of_b, negative: false });
        let never = |nearness, of_a, of_b| Kind::Relation(Relation { nearness, of_a, of_b, negative: true });
        match self {
            Self::Existence => Kind::Whole(Whole::Existence),
            Self::Absence => Kind::Whole(Whole::Absence),
            Self::Exactly => Kind::Whole(Whole::Exactly),
            Self::Init => Kind::Whole(Whole::Init),
            Self::End => Kind::Whole(Whole::End),
            Self::Choice => Kind::Whole(Whole::Choice),
            Self::ExclusiveChoice => Kind::Whole(Whole::ExclusiveChoice),
            Self::RespondedExistence => relation(Anywhere, true, false),
            Self::CoExistence => relation(Anywhere, true, true),
            Self::Response => relation(InOrder, true, false),
            Self::Precedence => relation(InOrder, false, true),
            Self::Succession => relation(InOrder, true, true),
            Self::AlternateResponse => relation(Alternating, true, false),
            Self::AlternatePrecedence => relation(Alternating, false, true),
            Self::AlternateSuccession => relation(Alternating, true, true),
            Self::ChainResponse => relation(Adjacent, true, false),
            Self::ChainPrecedence => relation(Adjacent, false, true),
            Self::ChainSuccession => relation(Adjacent, true, true),
            Self::NotRespondedExistence => never(Anywhere, true, false),
            Self::NotCoExistence => never(Anywhere, true, true),
            Self::NotResponse => never(InOrder, true, false),
            Self::NotPrecedence => never(InOrder, false, true),
            Self::NotSuccession => never(InOrder, true, true),
            Self::NotChainResponse => never(Adjacent, true, false),
            Self::NotChainPrecedence => never(Adjacent, false, true),
            Self::NotChainSuccession => never(Adjacent, true, true),
        }
    }

    /// Whether it is about a second activity.
    pub fn has_other(self) -> bool {
        !matches!(self, Self::Existence | Self::Absence | Self::Exactly | Self::Init | Self::End)
    }

    /// Whether it counts up to n.
    pub fn counts(self) -> bool {
        matches!(self, Self::Existence | Self::Absence | Self::Exactly)
    }

    /// The constraint as the literature writes it, for example `response(A, B)` or `exactly(2, A)`.
    pub fn with(self, activity: &str, other: &str, n: u32) -> String {
        let name = self.name();
        if self.counts() {
            format!("{name}({n}, {activity})")
        } else if self.has_other() {
            format!("{name}({activity}, {other})")
        } else {
            format!("{name}({activity})")
        }
    }
}

#[cfg(test)]
mod tests {
    use probity_sdk::Value;
    use probity_sdk::config::{ConfigValue, read};

    use super::*;

    #[test]
    fn every_template_is_offered_under_its_name() {
        let schema = Template::schema();
        let offered: Vec<&str> = schema["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let names: Vec<&str> = Template::ALL.iter().map(|template| template.name()).collect();
        assert_eq!(offered, names);
        for template in Template::ALL {
            assert_eq!(read::<Template>(&Value::from(template.name())).unwrap(), template);
        }
    }

    #[test]
    fn constraints_are_written_as_in_the_literature() {
        assert_eq!(Template::Exactly.with("A", "", 2), "exactly(2, A)");
        assert_eq!(Template::Init.with("A", "", 1), "init(A)");
        assert_eq!(Template::NotChainResponse.with("A", "B", 1), "not-chain-response(A, B)");
    }
}
