//! Are all keywords of a schema known? A validator skips the others, so `requried` would require nothing; Ajv, which
//! Node-RED uses, refuses them (its strict mode), and so do we.

use serde_json::Value as Json;

use crate::model::diagnostic::closest;

/// Values that are schemas, or lists of them.
const SCHEMAS: &[&str] = &[
    "additionalItems",
    "additionalProperties",
    "allOf",
    "anyOf",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "oneOf",
    "prefixItems",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
];

/// Values that are objects of schemas under names of the user's; in `dependencies` some are lists of names.
const NAMED: &[&str] = &["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"];

/// Everything else that draft 4 to 2020-12 or Ajv know.
const OTHERS: &[&str] = &[
    "$anchor",
    "$comment",
    "$dynamicAnchor",
    "$dynamicRef",
    "$id",
    "$recursiveAnchor",
    "$recursiveRef",
    "$ref",
    "$schema",
    "$vocabulary",
    "const",
    "contentEncoding",
    "contentMediaType",
    "default",
    "dependentRequired",
    "deprecated",
    "description",
    "enum",
    "example",
    "examples",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "id",
    "maxContains",
    "maximum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minContains",
    "minimum",
    "minItems",
    "minLength",
    "minProperties",
    "multipleOf",
    "nullable",
    "pattern",
    "readOnly",
    "required",
    "title",
    "type",
    "uniqueItems",
    "writeOnly",
];

/// The first keyword that no draft knows, with where it stands and what may have been meant.
pub(super) fn check(schema: &Json) -> Result<(), String> {
    let mut open = vec![(schema, "#".to_string())];
    while let Some((schema, at)) = open.pop() {
        let Json::Object(schema) = schema else { continue };
        for (keyword, value) in schema {
            let here = || format!("{at}/{keyword}");
            match (keyword.as_str(), value) {
                (k, Json::Array(list)) if SCHEMAS.contains(&k) => {
                    open.extend(list.iter().enumerate().map(|(i, item)| (item, format!("{}/{i}", here()))));
                }
                (k, _) if SCHEMAS.contains(&k) => open.push((value, here())),
                (k, Json::Object(named)) if NAMED.contains(&k) => {
                    open.extend(named.iter().map(|(name, item)| (item, format!("{}/{name}", here()))));
                }
                (k, _) if NAMED.contains(&k) || OTHERS.contains(&k) => {}
                (unknown, _) => {
                    let known = SCHEMAS.iter().chain(NAMED).chain(OTHERS).copied();
                    let hint = closest(unknown, known).map(|k| format!("; did you mean \"{k}\"?"));
                    return Err(format!("{at}: unknown keyword \"{unknown}\"{}", hint.unwrap_or_default()));
                }
            }
        }
    }
    Ok(())
}
