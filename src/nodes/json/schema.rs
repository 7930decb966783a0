//! JSON Schema validation for the json node: schemas compiled once, errors in Ajv's words, which flows know.

use jsonschema::error::{TypeKind, ValidationErrorKind as Kind};
use jsonschema::{Draft, PatternOptions, ValidationError, Validator};
use serde_json::{Value as Json, json};

use super::keywords;
use crate::model::Value;

/// Steps that one `pattern` may take on one text.
const PATTERN_STEPS_MAX: usize = 1_000_000;

/// Errors of one value that are told; a long list helps nobody.
const ERRORS_MAX: usize = 100;

/// A schema ready to use, with what it was made from.
pub(super) struct Schema {
    source: Value,
    json: Json,
    validator: Validator,
}

/// What is wrong with a value.
#[derive(Debug)]
pub(super) struct Invalid {
    /// `data/a must be number, data must have required property 'b'`.
    pub(super) text: String,
    /// The same as Ajv's list of `{instancePath, schemaPath, keyword, params, message}`.
    pub(super) errors: Value,
}

impl Schema {
    /// Compiles a schema: draft 7 unless its `$schema` names another. Only references into the schema itself (and to
    /// the drafts' own schemas) are followed; nothing is ever fetched. A keyword that the draft does not know is an
    /// error, as a slip in it would make the schema accept what it should not.
    pub(super) fn compile(source: &Value) -> Result<Schema, String> {
        let schema = source.to_serde();
        keywords::check(&schema)?;
        let draft = match Draft::Draft7.detect(&schema) {
            Draft::Unknown => {
                let named = schema.get("$schema").and_then(Json::as_str).unwrap_or_default();
                return Err(format!("$schema \"{named}\" is no draft of JSON Schema; leave it out for draft 7"));
            }
            draft => draft,
        };
        let validator = jsonschema::options()
            .with_draft(draft)
            .offline()
            .should_validate_formats(true)
            .with_pattern_options(PatternOptions::fancy_regex().backtrack_limit(PATTERN_STEPS_MAX))
            .build(&schema)
            .map_err(|error| format!("#{}: {error}", error.instance_path()))?;
        Ok(Schema { source: source.clone(), json: schema, validator })
    }

    pub(super) fn is_of(&self, source: &Value) -> bool {
        self.source == *source
    }

    pub(super) fn validate(&self, value: &Value) -> Result<(), Invalid> {
        let value = value.to_serde();
        let mut found = Vec::new();
        for error in self.validator.iter_errors(&value) {
            collect(&error, &self.json, &mut found);
            if found.len() >= ERRORS_MAX {
                found.truncate(ERRORS_MAX);
                break;
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let texts: Vec<String> = found.iter().map(Failure::text).collect();
        let errors: Vec<Json> = found.into_iter().map(Failure::into_json).collect();
        Err(Invalid { text: texts.join(", "), errors: Value::from(&Json::Array(errors)) })
    }
}

/// One error as Ajv has it.
struct Failure {
    instance_path: String,
    schema_path: String,
    keyword: String,
    params: Json,
    message: String,
}

impl Failure {
    fn text(&self) -> String {
        format!("data{} {}", self.instance_path, self.message)
    }

    fn into_json(self) -> Json {
        json!({
            "instancePath": self.instance_path, "schemaPath": self.schema_path, "keyword": self.keyword,
            "params": self.params, "message": self.message,
        })
    }
}

/// An error, after those of the branches that led to it.
fn collect(error: &ValidationError<'_>, schema: &Json, into: &mut Vec<Failure>) {
    match error.kind() {
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            context.iter().flatten().for_each(|inner| collect(inner, schema, into));
        }
        Kind::PropertyNames { error } => collect(error, schema, into),
        _ => {}
    }
    for (message, params) in messages(error, schema) {
        into.push(Failure {
            instance_path: error.instance_path().to_string(),
            schema_path: format!("#{}", error.schema_path()),
            keyword: error.kind().keyword().to_string(),
            params,
            message,
        });
    }
}

/// Ajv's message and parameters; one of each for every property that should not be there.
fn messages(error: &ValidationError<'_>, schema: &Json) -> Vec<(String, Json)> {
    let compared =
        |sign: &str, limit: &Json| (format!("must be {sign} {limit}"), json!({"comparison": sign, "limit": limit}));
    let sized =
        |how: &str, limit: &u64, of: &str| (format!("must NOT have {how} than {limit} {of}"), json!({"limit": limit}));
    let unexpected = |names: &[String], key: &str, what: &str| -> Vec<(String, Json)> {
        names.iter().map(|name| (format!("must NOT have {what} properties"), json!({key: name}))).collect()
    };
    let one = match error.kind() {
        Kind::Type { kind } => {
            // In the schema's order, which the error does not keep.
            let listed = schema.pointer(error.schema_path().as_str()).and_then(Json::as_array);
            let types: Vec<String> = match (kind, listed) {
                (TypeKind::Single(one), _) => vec![one.to_string()],
                (_, Some(names)) => names.iter().filter_map(|n| Some(n.as_str()?.to_string())).collect(),
                (TypeKind::Multiple(set), None) => set.iter().map(|t| t.to_string()).collect(),
            };
            let params = if let [one] = types.as_slice() { json!({"type": one}) } else { json!({"type": types}) };
            (format!("must be {}", types.join(",")), params)
        }
        Kind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            (format!("must have required property '{name}'"), json!({"missingProperty": name}))
        }
        Kind::AdditionalProperties { unexpected: names } => {
            return unexpected(names, "additionalProperty", "additional");
        }
        Kind::UnevaluatedProperties { unexpected: names } => {
            return unexpected(names, "unevaluatedProperty", "unevaluated");
        }
        Kind::AdditionalItems { limit } => sized("more", &(*limit as u64), "items"),
        Kind::UnevaluatedItems { .. } => ("must NOT have unevaluated items".into(), json!({})),
        Kind::MaxItems { limit } => sized("more", limit, "items"),
        Kind::MinItems { limit } => sized("fewer", limit, "items"),
        Kind::MaxLength { limit } => sized("more", limit, "characters"),
        Kind::MinLength { limit } => sized("fewer", limit, "characters"),
        Kind::MaxProperties { limit } => sized("more", limit, "properties"),
        Kind::MinProperties { limit } => sized("fewer", limit, "properties"),
        Kind::Maximum { limit } => compared("<=", limit),
        Kind::Minimum { limit } => compared(">=", limit),
        Kind::ExclusiveMaximum { limit } => compared("<", limit),
        Kind::ExclusiveMinimum { limit } => compared(">", limit),
        Kind::MultipleOf { multiple_of } => {
            (format!("must be multiple of {multiple_of}"), json!({"multipleOf": multiple_of}))
        }
        Kind::Enum { options } => {
            ("must be equal to one of the allowed values".into(), json!({"allowedValues": **options}))
        }
        Kind::Constant { expected_value } => {
            ("must be equal to constant".into(), json!({"allowedValue": **expected_value}))
        }
        Kind::Pattern { pattern } => (format!("must match pattern \"{pattern}\""), json!({"pattern": pattern})),
        Kind::Format { format } => (format!("must match format \"{format}\""), json!({"format": format})),
        Kind::UniqueItems => ("must NOT have duplicate items".into(), json!({})),
        Kind::Contains => ("must contain at least 1 valid item(s)".into(), json!({"minContains": 1})),
        Kind::AnyOf { .. } => ("must match a schema in anyOf".into(), json!({})),
        Kind::OneOfNotValid { .. } => {
            ("must match exactly one schema in oneOf".into(), json!({"passingSchemas": null}))
        }
        Kind::OneOfMultipleValid { .. } => ("must match exactly one schema in oneOf".into(), json!({})),
        Kind::Not { .. } => ("must NOT be valid".into(), json!({})),
        Kind::PropertyNames { .. } => ("property name must be valid".into(), json!({})),
        Kind::FalseSchema => ("boolean schema is false".into(), json!({})),
        // Rare ones, in the validator's own words.
        _ => (error.to_string(), json!({})),
    };
    vec![one]
}
