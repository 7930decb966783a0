//! Grafana's side of a query: variables put in by the browser, macros expanded by the Postgres datasource.

use std::collections::BTreeMap;

/// The dashboard's time range.
pub const FROM: &str = "2026-01-01T00:00:00Z";
pub const TO: &str = "2026-03-01T00:00:00Z";

/// What the viewer chose.
pub enum Choice {
    /// `All` of a variable with `allValue`: that text as it is, in every format.
    All(String),
    Values(Vec<String>),
    Text(String),
}

/// The SQL that reaches the database.
pub fn expand(sql: &str, choices: &BTreeMap<String, Choice>) -> String {
    expand_macros(&expand_variables(sql, choices))
}

/// `$name`, `${name}`, `${name:format}`; only the formats that the dashboard uses.
fn expand_variables(sql: &str, choices: &BTreeMap<String, Choice>) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let (reference, tail) = after.split_once('}').expect("${ is closed");
        let (name, format) = reference.split_once(':').unwrap_or((reference, ""));
        let choice = choices.get(name).unwrap_or_else(|| panic!("${{{reference}}}: no such variable"));
        let text = match (choice, format) {
            (Choice::All(text), _) => text.clone(),
            // Nothing to choose from is an empty text.
            (Choice::Values(values), "sqlstring") if values.is_empty() => "''".to_owned(),
            (Choice::Values(values), "sqlstring") => {
                values.iter().map(|v| format!("'{}'", v.replace('\'', "''"))).collect::<Vec<_>>().join(",")
            }
            (Choice::Text(text), "") => text.clone(),
            _ => panic!("${{{reference}}}: a list goes into SQL as ${{{name}:sqlstring}}"),
        };
        out.push_str(&text);
        rest = tail;
    }
    out.push_str(rest);
    // Set by Grafana from the width of the panel and its shortest interval.
    out.replace("$__interval", "1h")
}

/// As `pkg/tsdb/grafana-postgresql-datasource/macros.go` writes them.
fn expand_macros(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once("$__") {
        out.push_str(before);
        let (name, after) = after.split_once('(').expect("a macro has parentheses");
        let (arguments, tail) = after.split_once(')').expect("a macro's parentheses are closed");
        let arguments: Vec<&str> = arguments.split(',').map(str::trim).filter(|a| !a.is_empty()).collect();
        out.push_str(&match (name, arguments.as_slice()) {
            ("timeFilter", [column]) => format!("{column} BETWEEN '{FROM}' AND '{TO}'"),
            ("timeFrom", []) => format!("'{FROM}'"),
            ("timeTo", []) => format!("'{TO}'"),
            ("timeGroup", [column, interval]) => time_group(column, interval),
            ("timeGroupAlias", [column, interval]) => format!("{} AS \"time\"", time_group(column, interval)),
            _ => panic!("$__{name}({arguments:?}) is not a macro of Grafana's Postgres datasource"),
        });
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn time_group(column: &str, interval: &str) -> String {
    assert_eq!(interval, "1h", "the only interval of this expansion");
    format!("floor(extract(epoch from {column})/3600)*3600")
}

#[test]
fn macros_and_variables_become_sql() {
    let choices = BTreeMap::from([
        ("a".to_string(), Choice::Values(vec!["x".into(), "it's".into()])),
        ("b".to_string(), Choice::All("SELECT 1".into())),
    ]);
    let sql = "SELECT $__timeGroupAlias(\"time\", $__interval) WHERE $__timeFilter(t) AND a IN (${a:sqlstring}) AND b IN (${b:sqlstring})";
    assert_eq!(
        expand(sql, &choices),
        "SELECT floor(extract(epoch from \"time\")/3600)*3600 AS \"time\" WHERE t BETWEEN '2026-01-01T00:00:00Z' AND \
         '2026-03-01T00:00:00Z' AND a IN ('x','it''s') AND b IN (SELECT 1)"
    );
}
