//! An explanation in words, English or Spanish: every text is in one table. What an engine or a source said (reasons,
//! objectives, names) is quoted as it was stored.

use serde_json::Value;

use super::{Change, Decider, Explanation, ObjectiveExplained};
use crate::expr::{Distance, number_text};
use crate::model::state::{Scope, Verdict};

/// A language of explanations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    #[default]
    English,
    Spanish,
}

impl Language {
    /// `en`, `es`, also with a region: `es-MX`.
    pub fn parse(tag: &str) -> Option<Language> {
        match tag.trim().split(['-', '_']).next().unwrap_or_default().to_lowercase().as_str() {
            "en" => Some(Language::English),
            "es" => Some(Language::Spanish),
            _ => None,
        }
    }

    /// The best of an `Accept-Language` header; English when it names none of ours.
    pub fn accepted(header: &str) -> Language {
        let mut best = (0.0, Language::English);
        for choice in header.split(',') {
            let (tag, weight) = choice.split_once(';').unwrap_or((choice, "q=1"));
            let weight: f64 = weight.trim().strip_prefix("q=").and_then(|q| q.trim().parse().ok()).unwrap_or(0.0);
            if let Some(language) = Language::parse(tag)
                && weight > best.0
            {
                best = (weight, language);
            }
        }
        best.1
    }

    /// `en` or `es`.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Spanish => "es",
        }
    }

    /// The text of this key in this language, with values in its places.
    pub fn say(self, key: &str, values: &[(&str, &str)]) -> String {
        let (_, english, spanish) =
            TEXTS.iter().find(|(k, ..)| *k == key).expect("every text that is asked for is in the table");
        let text = match self {
            Language::English => english,
            Language::Spanish => spanish,
        };
        let mut said = String::with_capacity(text.len());
        let mut rest = *text;
        // In one pass: what stands in braces in a value is no place.
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').expect("every place in the table is closed");
            said.push_str(before);
            said.push_str(values.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| *value));
            rest = after;
        }
        said + rest
    }

    /// A whole sentence of ours that is kept in English, in this language; any other as it is.
    pub fn sentence(self, english: &str) -> String {
        match TEXTS.iter().find(|(_, text, _)| *text == english && self == Language::Spanish) {
            Some((_, _, spanish)) => (*spanish).to_owned(),
            None => english.to_owned(),
        }
    }
}

/// Key, English, Spanish.
const TEXTS: &[(&str, &str, &str)] = &[
    ("fulfilled", "fulfilled", "cumplida"),
    ("violated", "violated", "incumplida"),
    ("unknown", "unknown", "desconocida"),
    ("not-applicable", "not applicable", "no aplicable"),
    ("waived", "waived", "dispensada"),
    (
        "waived-by",
        "Accepted by {owner} until {expires}: {reason}. Without the waiver it is {verdict}.",
        "Aceptada por {owner} hasta {expires}: {reason}. Sin la dispensa está {verdict}.",
    ),
    (
        "title",
        "{guarantee} of {agreement} was {verdict} in {scope}, {window}",
        "{guarantee} de {agreement}: {verdict} en {scope}, {window}",
    ),
    ("everywhere", "its only scope", "su único ámbito"),
    ("provisional", "The window was still open when this was said.", "La ventana seguía abierta cuando se dijo esto."),
    ("objective", "Objective: {objective}", "Objetivo: {objective}"),
    ("substituted", "With values: {substituted}", "Con valores: {substituted}"),
    ("holds", "It holds.", "Se cumple."),
    ("fails", "It does not hold.", "No se cumple."),
    ("undecided", "It cannot be decided: {missing}", "No se puede decidir: {missing}"),
    ("decided", "Decided by {metric} = {value}", "Lo decide {metric} = {value}"),
    ("decided-absence", "Decided by what is missing, not by a value.", "Lo decide lo que falta, no un valor."),
    ("seen", "{seen} of {expected} were seen", "se vieron {seen} de {expected}"),
    (
        "evidence",
        "Evidence: {source}, collected {at}, SHA-256 {hash}",
        "Evidencia: {source}, recogida {at}, SHA-256 {hash}",
    ),
    ("no-evidence", "The source gave no evidence for {metric}.", "La fuente no dio evidencia de {metric}."),
    ("stored-by", "stored by run {run}, revision {revision}", "guardado por la ejecución {run}, revisión {revision}"),
    ("distance", "Distance to pass:", "Distancia hasta cumplir:"),
    ("distance-none", "none", "ninguna"),
    ("up", "{measured} must rise by {by}, from {now} to {bound}", "{measured} debe subir {by}, de {now} a {bound}"),
    (
        "up-strict",
        "{measured} must rise by more than {by}, from {now} to above {bound}",
        "{measured} debe subir más de {by}, de {now} por encima de {bound}",
    ),
    ("down", "{measured} must fall by {by}, from {now} to {bound}", "{measured} debe bajar {by}, de {now} a {bound}"),
    (
        "down-strict",
        "{measured} must fall by more than {by}, from {now} to below {bound}",
        "{measured} debe bajar más de {by}, de {now} por debajo de {bound}",
    ),
    ("away", "{measured} must be another value than {bound}", "{measured} debe ser distinto de {bound}"),
    ("all", "all of these:", "todo esto:"),
    ("any", "one of these:", "una de estas cosas:"),
    ("distance-unknown", "not known for {condition}: {missing}", "no se sabe para {condition}: {missing}"),
    ("otherwise", "{condition} must hold", "{condition} debe cumplirse"),
    (
        "differs",
        "This is not what was judged: the agreement or the stored evidence has changed since. What was said then: {reason}",
        "Esto no es lo que se juzgó: el acuerdo o la evidencia guardada han cambiado. Lo que se dijo entonces: {reason}",
    ),
    (
        "version-changed",
        "It was given under another version of the agreement ({version}…) than the one that is loaded.",
        "Se dio con otra versión del acuerdo ({version}…) que la que está cargada.",
    ),
    (
        "no-objective",
        "The agreement that is loaded has no term for this scope and window. What was said: {reason}",
        "El acuerdo cargado no tiene ningún término para este ámbito y ventana. Lo que se dijo: {reason}",
    ),
    ("said", "What was said: {reason}", "Lo que se dijo: {reason}"),
    (
        "last-pass-window",
        "It last passed in {window}. Since then:",
        "Se cumplió por última vez en {window}. Desde entonces:",
    ),
    (
        "last-pass-revision",
        "Revision {revision} of this window passed. Since then:",
        "La revisión {revision} de esta ventana se cumplía. Desde entonces:",
    ),
    ("value-changed", "{metric} went from {then} to {now}", "{metric} pasó de {then} a {now}"),
    ("agreement-changed", "the agreement changed", "cambió el acuerdo"),
    ("nothing-changed", "no value changed", "no cambió ningún valor"),
    ("no-pass", "No pass among the {count} windows before.", "Ningún cumplimiento en las {count} ventanas anteriores."),
    ("no-value", "no value", "sin valor"),
    (
        "budget-title",
        "Budget {budget} of {agreement} was {verdict} in {scope}, {window}",
        "Presupuesto {budget} de {agreement}: {verdict} en {scope}, {window}",
    ),
    (
        "rate-title",
        "Alert {alert} of budget {budget} of {agreement} was {verdict} in {scope}, {window}",
        "Alerta {alert} del presupuesto {budget} de {agreement}: {verdict} en {scope}, {window}",
    ),
    (
        "budget-target",
        "Counted from the verdicts of {guarantee}; its target is {target}",
        "Se cuenta a partir de los veredictos de {guarantee}; su objetivo es {target}",
    ),
    ("unit-windows", "windows", "ventanas"),
    ("unit-events", "events", "eventos"),
    (
        "budget-may",
        "{bad} of {population} {unit} were bad, {may} may be",
        "{bad} de {population} {unit} fueron malos, {may} pueden serlo",
    ),
    (
        "rate-short",
        "Over the short time ({length}) {bad} of {population} {unit} were bad, {may} may be",
        "En el plazo corto ({length}) {bad} de {population} {unit} fueron malos, {may} pueden serlo",
    ),
    ("budget-left", "{left} more may be", "{left} más pueden serlo"),
    ("budget-exceeded", "{over} too many", "{over} de más"),
    (
        "budget-if-bad",
        ", if nothing unknown was bad; if all of it was, {left}",
        ", si nada desconocido fue malo; si todo lo fue, {left}",
    ),
    (
        "budget-no-bound",
        ", if nothing unknown was bad; how many events that were nobody knows",
        ", si nada desconocido fue malo; cuántos eventos eran no lo sabe nadie",
    ),
    ("budget-consumed", "Used up by {count} windows:", "Lo consumieron {count} ventanas:"),
    ("budget-unknown", "Not known of {count} windows:", "No se sabe de {count} ventanas:"),
    ("budget-untouched", "Nothing has used it up.", "Nada lo ha consumido."),
    ("budget-part", " ({bad} bad {unit}, {share} % of it)", " ({bad} {unit} malos, el {share} %)"),
    (
        "chain",
        "Verdict: revision {revision}, recorded {at} by run {run}, agreement {version}…",
        "Veredicto: revisión {revision}, registrado {at} por la ejecución {run}, acuerdo {version}…",
    ),
    ("none", "none", "ninguno"),
    ("without-waiver", "{verdict} (without its waiver {unwaived})", "{verdict} (sin su dispensa {unwaived})"),
    ("flips-one", "1 verdict would be others:", "1 veredicto sería otro:"),
    ("flips-many", "{count} verdicts would be others:", "{count} veredictos serían otros:"),
    ("added-one", "1 verdict would be new:", "1 veredicto sería nuevo:"),
    ("added-many", "{count} verdicts would be new:", "{count} veredictos serían nuevos:"),
    ("removed-one", "1 verdict would be gone:", "1 veredicto desaparecería:"),
    ("removed-many", "{count} verdicts would be gone:", "{count} veredictos desaparecerían:"),
    ("first-flip", "first: {line}", "primero: {line}"),
    (
        "smallest-flip",
        "smallest counter-example, decided by {by}: {line}",
        "contraejemplo más pequeño, lo decide {by}: {line}",
    ),
    ("nothing-known", "nothing known", "nada conocido"),
    ("and", "{one} and {other}", "{one} y {other}"),
    ("penalty-sum", "penalty {over}: {before} → {after}", "penalización {over}: {before} → {after}"),
    (
        "penalty-unsaid",
        " (without those that cannot be said: {before}, then {after})",
        " (sin las que no se pueden decir: {before}, después {after})",
    ),
    (
        "budgets-changed",
        "{count} states of budgets would be others, new or gone:",
        "{count} estados de presupuestos serían otros, nuevos o desaparecerían:",
    ),
    (
        "rates-changed",
        "{count} burn rates would be others, new or gone:",
        "{count} ritmos de consumo serían otros, nuevos o desaparecerían:",
    ),
    ("budget-side", "{verdict} ({value} left)", "{verdict} (quedan {value})"),
    ("rate-side", "{verdict} ({value} times)", "{verdict} ({value} veces)"),
    ("not-stored", "not stored, {count} times: {reason}", "no guardado, {count} veces: {reason}"),
    ("not-stored-window", "it is not stored for this window", "no está guardado para esta ventana"),
    ("not-stored-scope", "it is not stored for this scope", "no está guardado para este ámbito"),
    (
        "not-stored-metric",
        "it is not stored: the current agreement has no such metric",
        "no está guardado: el acuerdo actual no tiene esa métrica",
    ),
    (
        "not-stored-measure",
        "it is not stored: its collector or its measure is another in the current agreement",
        "no está guardado: su colector o su medida es otra en el acuerdo actual",
    ),
    (
        "not-stored-parameters",
        "it is not stored: the current agreement never asks for it with these parameters",
        "no está guardado: el acuerdo actual nunca lo pide con estos parámetros",
    ),
    (
        "other-versions",
        "stored verdicts of other versions of the agreement, which may have asked for something else: {count}",
        "veredictos guardados de otras versiones del acuerdo, que pudieron pedir otra cosa: {count}",
    ),
    ("simulated-before", "stored: {counts}", "guardados: {counts}"),
    ("simulated-after", "simulated: {counts}", "simulados: {counts}"),
    ("verdict-count", "{count} {verdict}", "{verdict}: {count}"),
    (
        "simulated",
        "{same} the same, {others} others, {new} new, {gone} gone",
        "{same} iguales, {others} distintos, {new} nuevos, {gone} desaparecidos",
    ),
    (
        "simulated-budgets",
        "budgets and burn rates: {same} the same, {others} others, new or gone",
        "presupuestos y ritmos de consumo: {same} iguales, {others} distintos, nuevos o desaparecidos",
    ),
];

impl Explanation {
    /// The explanation as lines of text; a line that belongs to the one before starts with two blanks.
    pub fn lines(&self, language: Language) -> Vec<String> {
        let say = |key: &str, values: &[(&str, &str)]| language.say(key, values);
        let mut lines = vec![say(
            "title",
            &[
                ("guarantee", &self.guarantee),
                ("agreement", &self.agreement),
                ("verdict", &say(self.verdict.as_str(), &[])),
                ("scope", &scope_text(&self.scope, language)),
                ("window", &self.window.text()),
            ],
        )];
        if self.provisional {
            lines.push(say("provisional", &[]));
        }
        if let Some(waiver) = &self.waiver {
            let verdict = say(waiver.verdict.as_str(), &[]);
            let expires = waiver.expires.to_string();
            let values =
                [("owner", &*waiver.owner), ("expires", &expires), ("reason", &waiver.reason), ("verdict", &verdict)];
            lines.push(say("waived-by", &values));
        }
        if self.agreement_changed {
            lines.push(say("version-changed", &[("version", short(&self.agreement_version))]));
        }
        if self.objectives.is_empty() {
            lines.push(say("no-objective", &[("reason", &self.reason)]));
        } else if !matches!(self.verdict, Verdict::Fulfilled | Verdict::Violated | Verdict::Unknown) {
            lines.push(say("said", &[("reason", &self.reason)]));
        }
        for objective in &self.objectives {
            self.objective(objective, language, &mut lines);
        }
        if let Some(change) = &self.since_last_pass {
            since(change, language, &mut lines);
        } else if self.verdict != Verdict::Fulfilled && self.windows_looked_back > 0 {
            lines.push(say("no-pass", &[("count", &self.windows_looked_back.to_string())]));
        }
        lines.push(say(
            "chain",
            &[
                ("revision", &self.revision.to_string()),
                ("at", &self.recorded_at.to_string()),
                ("run", &self.run.to_string()),
                ("version", short(&self.agreement_version)),
            ],
        ));
        lines
    }

    fn objective(&self, objective: &ObjectiveExplained, language: Language, lines: &mut Vec<String>) {
        let say = |key: &str, values: &[(&str, &str)]| language.say(key, values);
        lines.push(say("objective", &[("objective", &objective.objective)]));
        lines.push(say("substituted", &[("substituted", &objective.substituted)]));
        lines.push(match objective.holds {
            Some(true) => say("holds", &[]),
            Some(false) => say("fails", &[]),
            None => say("undecided", &[("missing", &objective.missing.join("; "))]),
        });
        if objective.differs {
            lines.push(say("differs", &[("reason", &self.reason)]));
        }
        if objective.holds.is_some() && objective.decided_by.is_empty() {
            lines.push(say("decided-absence", &[]));
        }
        for decider in &objective.decided_by {
            decided(decider, language, lines);
        }
        if objective.holds != Some(true) {
            lines.push(say("distance", &[]));
            far(&objective.distance, language, 1, lines);
        }
    }
}

fn decided(decider: &Decider, language: Language, lines: &mut Vec<String>) {
    let value = match &decider.value {
        Value::Number(n) => n.as_f64().map_or_else(|| n.to_string(), number_text),
        Value::Null => language.say("no-value", &[]),
        Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    };
    let mut line = language.say("decided", &[("metric", &decider.metric), ("value", &value)]);
    if let Some(coverage) = decider.coverage {
        let counts = [("seen", &*coverage.seen.to_string()), ("expected", &*coverage.expected.to_string())];
        line.push_str(&format!(" ({})", language.say("seen", &counts)));
    }
    lines.push(line);
    if let (Some(run), Some(revision)) = (decider.run, decider.revision) {
        let values = [("run", &*run.to_string()), ("revision", &*revision.to_string())];
        lines.push(format!("  {}", language.say("stored-by", &values)));
    }
    for piece in &decider.evidence {
        let at = piece.collected_at.to_string();
        let values = [("source", piece.source.as_str()), ("at", &at), ("hash", &piece.sha256)];
        lines.push(format!("  {}", language.say("evidence", &values)));
    }
    if decider.evidence.is_empty() {
        lines.push(format!("  {}", language.say("no-evidence", &[("metric", &decider.metric)])));
    }
}

fn far(distance: &Distance, language: Language, depth: usize, lines: &mut Vec<String>) {
    let mut push = |text: String| lines.push(format!("{}{text}", "  ".repeat(depth)));
    match distance {
        Distance::None => push(language.say("distance-none", &[])),
        Distance::Amount { measured, now, bound, by, direction, strict, .. } => {
            let key = match (*direction, strict) {
                ("up", true) => "up-strict",
                ("down", true) => "down-strict",
                (other, _) => other,
            };
            let (now, bound, by) = (number_text(*now), number_text(*bound), number_text(*by));
            push(language.say(key, &[("measured", measured), ("now", &now), ("bound", &bound), ("by", &by)]));
        }
        Distance::All { of } | Distance::Any { of } => {
            let all = matches!(distance, Distance::All { .. });
            push(language.say(if all { "all" } else { "any" }, &[]));
            of.iter().for_each(|inner| far(inner, language, depth + 1, lines));
        }
        Distance::Unknown { condition, missing } => {
            push(language.say("distance-unknown", &[("condition", condition), ("missing", &missing.join("; "))]));
        }
        Distance::Otherwise { condition } => push(language.say("otherwise", &[("condition", condition)])),
    }
}

fn since(change: &Change, language: Language, lines: &mut Vec<String>) {
    let key = if change.kind == "revision" { "last-pass-revision" } else { "last-pass-window" };
    lines.push(language.say(key, &[("window", &change.window.text()), ("revision", &change.revision.to_string())]));
    let value = |n: Option<f64>| n.map_or_else(|| language.say("no-value", &[]), number_text);
    for changed in &change.values {
        let values =
            [("metric", changed.metric.as_str()), ("then", &value(changed.then)), ("now", &value(changed.now))];
        lines.push(format!("  {}", language.say("value-changed", &values)));
    }
    if change.agreement_changed {
        lines.push(format!("  {}", language.say("agreement-changed", &[])));
    }
    if change.values.is_empty() && !change.agreement_changed {
        lines.push(format!("  {}", language.say("nothing-changed", &[])));
    }
}

pub(in crate::agreement) fn scope_text(scope: &Scope, language: Language) -> String {
    let members: Vec<String> = scope.0.iter().map(|(key, member)| format!("{key}={member}")).collect();
    if members.is_empty() { language.say("everywhere", &[]) } else { members.join(" ") }
}

/// The first digits of a hash: enough to tell two apart.
pub(in crate::agreement) fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both languages have every text with the same places for values, and none is left as it was.
    #[test]
    fn every_text_is_in_both_languages() {
        let places = |text: &str| {
            let mut found: Vec<String> =
                text.split('{').skip(1).filter_map(|r| Some(r.split_once('}')?.0.to_owned())).collect();
            found.sort();
            found
        };
        for (i, (key, english, spanish)) in TEXTS.iter().enumerate() {
            assert_eq!(places(english), places(spanish), "{key}");
            assert_ne!(english, spanish, "{key}");
            assert!(TEXTS[..i].iter().all(|(other, ..)| other != key), "{key} stands twice");
        }
    }

    #[test]
    fn the_language_asked_for_is_taken() {
        assert_eq!(Language::accepted("fr, es-MX;q=0.8, en;q=0.5"), Language::Spanish);
        assert_eq!(Language::accepted("en-GB,es;q=0.9"), Language::English);
        assert_eq!(Language::accepted("fr"), Language::English);
        assert_eq!(Language::accepted("es;q=x"), Language::English);
        assert_eq!(Language::parse("ES"), Some(Language::Spanish));
    }
}
