//! A policy that is ready to be asked.

use std::cell::RefCell;
use std::rc::Rc;

use probity_sdk::{Error, ErrorContext, Result, Value, bail, serde_json};
use regorus::Engine;

use crate::sources::Sources;
use crate::{fault, time};

/// How a policy is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Rego before OPA 1.0.
    pub v0: bool,
    /// A builtin function that fails is undefined, as OPA has it unless told otherwise.
    pub failures_are_undefined: bool,
}

/// The answer to a query; `None` is undefined.
pub type Answer = Option<regorus::Value>;

pub struct Compiled {
    engine: RefCell<Engine>,
    packages: Vec<String>,
    modules: Vec<String>,
    /// Whether the policy may ask for the time.
    pub asks_for_time: bool,
}

thread_local! {
    /// The policy that was asked last, by its sources: an instance serves one node, whose policy rarely changes. It
    /// holds nothing of a message: see `ask`.
    static LAST: RefCell<Option<(String, Rc<Compiled>)>> = const { RefCell::new(None) };
}

/// The policy, compiled unless it was the last one.
pub fn policy(sources: &Sources, reading: Reading) -> Result<Rc<Compiled>> {
    let key = format!("{}{}{}", sources.key(), reading.v0, reading.failures_are_undefined);
    let known = LAST.with(|last| last.borrow().as_ref().filter(|(of, _)| *of == key).map(|(_, known)| known.clone()));
    if let Some(known) = known {
        return Ok(known);
    }
    let compiled = Rc::new(Compiled::new(sources, reading)?);
    LAST.with(|last| *last.borrow_mut() = Some((key, compiled.clone())));
    Ok(compiled)
}

impl Compiled {
    fn new(sources: &Sources, reading: Reading) -> Result<Self> {
        let mut engine = Engine::new();
        engine.set_rego_v0(reading.v0);
        engine.set_strict_builtin_errors(!reading.failures_are_undefined);
        engine.set_gather_prints(true);
        time::add_to(&mut engine, reading.failures_are_undefined);
        let mut problems = Vec::new();
        for module in &sources.modules {
            if let Err(error) = engine.add_policy(module.name.clone(), module.text.clone()) {
                problems.push(fault::of(&error, "the policy cannot be read"));
            }
        }
        for document in sources.documents() {
            match document {
                Ok((source, data)) => {
                    if let Err(error) = engine.add_data(data) {
                        problems.push(Error::new(format!("{}: {error:#}", source.name)));
                    }
                }
                Err(error) => problems.push(error.context("the policy's data cannot be read")),
            }
        }
        if !problems.is_empty() {
            let texts: Vec<&str> = problems.iter().map(Error::message).collect();
            return Err(Error::new(texts.join("; ")).with_code(fault::CODE));
        }
        // Nothing is asked: this only orders the rules, which finds recursion, unsafe variables and the like.
        let ordered = engine.eval_query("true".to_owned(), false);
        ordered.map_err(|error| fault::of(&error, "the policy cannot be read"))?;
        let packages = engine.get_packages().map_err(|error| fault::of(&error, "the policy cannot be read"))?;
        Ok(Self {
            engine: RefCell::new(engine),
            packages,
            modules: sources.modules.iter().map(|module| module.name.clone()).collect(),
            asks_for_time: sources.modules.iter().any(|module| module.text.contains("now_ns")),
        })
    }

    /// Asks the queries about the input. Nothing of the input stays.
    pub fn ask(&self, input: regorus::Value, queries: &[&str]) -> Result<Vec<Answer>> {
        let mut engine = self.engine.borrow_mut();
        engine.set_input(input);
        let answers = queries.iter().map(|query| self.answer(&mut engine, query)).collect();
        engine.set_input(regorus::Value::Undefined);
        answers
    }

    /// What the policy printed since the last time, each with file and line.
    pub fn printed(&self) -> Vec<String> {
        self.engine.borrow_mut().take_prints().unwrap_or_default()
    }

    fn answer(&self, engine: &mut Engine, query: &str) -> Result<Answer> {
        self.check(engine, query)?;
        let failed = |error: anyhow::Error| fault::of(&error, "the policy failed");
        let found = engine.eval_query(query.to_owned(), false).map_err(failed)?;
        let mut values = found.result.into_iter().flat_map(|result| result.expressions).map(|one| one.value);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(regorus::Value::Undefined), None) => Ok(None),
            (Some(value), None) => Ok(Some(value)),
            _ => bail!(
                "the query {query} has more than one answer: ask for a rule, such as data.main.allow, or for a set, \
                 such as {{x | ...}}"
            ),
        }
    }

    /// A path that leads to nothing is a slip of the pen, and must not pass for an undefined decision.
    fn check(&self, engine: &Engine, query: &str) -> Result<()> {
        let parts: Vec<&str> = query.trim().split('.').collect();
        let word = |part: &&str| {
            !part.is_empty() && part.chars().all(|c| c == '_' || c.is_ascii_alphanumeric()) && *part != "input"
        };
        if parts[0] != "data" || !parts.iter().all(word) {
            return Ok(());
        }
        let path = parts.join(".");
        let beyond = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
        let of_package = |package: &String| {
            *package == path || package.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        if path == "data" || self.packages.iter().any(of_package) || self.in_data(engine, &parts[1..]) {
            return Ok(());
        }
        for (package, module) in self.packages.iter().zip(&self.modules).filter(|(package, _)| beyond(package)) {
            let below = &parts[package.split('.').count()..];
            // The rule may be the path, or something the path leads into.
            for length in 1..=below.len() {
                if engine.has_declared_rule_rooted_at(module, &below[..length].join(".")).unwrap_or(false) {
                    return Ok(());
                }
            }
        }
        bail!("the query {path} leads to no rule and no data: the policy's packages are {}", self.packages.join(", "))
    }

    fn in_data(&self, engine: &Engine, parts: &[&str]) -> bool {
        let mut found = engine.get_data();
        for part in parts {
            let next = found[*part].clone();
            found = next;
        }
        found != regorus::Value::Undefined
    }
}

/// A value of regorus as JSON; sets become lists.
pub fn json(value: &regorus::Value) -> Result<Value> {
    let text = serde_json::to_string(value).context("the policy's answer is no JSON")?;
    Ok(serde_json::from_str(&text)?)
}
