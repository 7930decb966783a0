//! What a tab says about its runs beside Node-RED's own: `concurrency`, `tenant`, `trace`. As properties of the tab, or,
//! since the editor knows no such properties, as its environment variables `PROBITY_CONCURRENCY`, `PROBITY_TENANT` and
//! `PROBITY_TRACE`; the property counts first.

use arcstr::ArcStr;

use super::expand::Expansion;
use crate::model::{Diagnostic, Value};

#[derive(Default)]
pub(super) struct TabLimits {
    pub(super) concurrency: Option<usize>,
    pub(super) tenant: Option<ArcStr>,
    pub(super) trace: Option<bool>,
}

/// Reads them of the tab with this place in the file; what cannot be read is ignored and told.
pub(super) fn limits(expansion: &Expansion<'_>, flow: usize, diagnostics: &mut Vec<Diagnostic>) -> TabLimits {
    let tab = &expansion.index.file.flows[flow];
    let entry = tab.entry.and_then(|at| expansion.index.file.entries.get(at));
    let mut problem = |name: &str, expected: &str| {
        let at = format!("{}.{name}", expansion.index.path_of(&tab.id));
        let text = format!("{name} of tab \"{}\" cannot be read and is ignored", tab.label);
        diagnostics.push(Diagnostic::warning("tab-limit", at, text).expected(expected));
    };
    let given = |name: &str| -> Option<Value> {
        let property = entry.and_then(|entry| entry.get(name)).map(Value::from);
        let variable = || expansion.env_of_flow(flow)?.get(&format!("PROBITY_{}", name.to_uppercase())).cloned();
        property.or_else(variable).filter(|value| !value.is_nullish() && value.as_str() != Some(""))
    };
    let mut limits = TabLimits::default();
    if let Some(value) = given("concurrency") {
        let number = value.to_number();
        match number >= 0.0 && number.fract() == 0.0 && number <= 1e9 {
            true => limits.concurrency = Some(number as usize),
            false => problem("concurrency", "a whole number of at least 1, or 0 for no limit"),
        }
    }
    if let Some(value) = given("tenant") {
        match value.as_str() {
            Some(name) => limits.tenant = Some(name.into()),
            None => problem("tenant", "a name"),
        }
    }
    if let Some(value) = given("trace") {
        match (value.as_bool(), value.as_str()) {
            (Some(trace), _) => limits.trace = Some(trace),
            (_, Some("true")) => limits.trace = Some(true),
            (_, Some("false")) => limits.trace = Some(false),
            _ => problem("trace", "true or false"),
        }
    }
    limits
}

#[cfg(test)]
mod tests {
    use crate::model::flow::{Plan, PlanFlow};

    fn plan(tab: &str) -> Plan {
        let text = format!(r#"[{{"id":"t","type":"tab","label":"T",{tab}}},{{"id":"n","type":"comment","z":"t"}}]"#);
        let (file, problems) = crate::flow::load(&text, "f.json");
        assert!(problems.is_empty(), "{problems:?}");
        crate::flow::plan(&file, &|_| None, &|_| None)
    }

    fn flow(tab: &str) -> PlanFlow {
        plan(tab).flows.remove(0)
    }

    #[test]
    fn properties_and_variables_say_the_same() {
        let variables = r#""env":[{"name":"PROBITY_CONCURRENCY","value":"3","type":"num"},
            {"name":"PROBITY_TENANT","value":"acme","type":"str"},{"name":"PROBITY_TRACE","value":"true","type":"bool"}]"#;
        for tab in [r#""concurrency":3,"tenant":"acme","trace":true"#, variables] {
            let flow = flow(tab);
            assert_eq!((flow.concurrency, flow.tenant.as_deref(), flow.trace), (Some(3), Some("acme"), Some(true)));
        }
        let both = flow(&format!(r#""concurrency":5,"trace":false,{variables}"#));
        assert_eq!((both.concurrency, both.trace), (Some(5), Some(false)));
        let none = flow(r#""info":"""#);
        assert_eq!((none.concurrency, none.tenant, none.trace), (None, None, None));
    }

    #[test]
    fn what_cannot_be_read_is_told_and_ignored() {
        let plan = plan(r#""concurrency":-1,"tenant":7,"trace":"maybe""#);
        let told: Vec<&str> =
            plan.diagnostics.iter().filter(|d| d.code == "tab-limit").map(|d| d.path.as_str()).collect();
        assert_eq!(told, ["$[0].concurrency", "$[0].tenant", "$[0].trace"]);
        assert!(plan.flows[0].concurrency.is_none() && plan.flows[0].trace.is_none());
    }
}
