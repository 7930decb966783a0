//! `[datasources.NAME]`: databases that flows may ask. Addresses hold secrets: they come from the file, the
//! environment, or a file that either names, and are never shown.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use toml::{Table, Value};

use crate::datasource::{DatasourceOptions, Datasources};

/// Of the environment: `PROBITY_DATASOURCES_<NAME>_<KEY>`.
const PREFIX: &str = "PROBITY_DATASOURCES_";

#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Datasource {
    url: String,
    /// A file with the address, for secrets that are mounted.
    url_file: String,
    write: bool,
    javascript: bool,
    rows_max: usize,
    bytes_max: usize,
    query_ms_max: u64,
    connections_max: u32,
}

impl Default for Datasource {
    fn default() -> Self {
        let options = DatasourceOptions::default();
        Datasource {
            url: String::new(),
            url_file: String::new(),
            write: options.write,
            javascript: options.javascript,
            rows_max: options.rows_max,
            bytes_max: options.bytes_max,
            query_ms_max: options.query_ms_max,
            connections_max: options.connections_max,
        }
    }
}

impl std::fmt::Debug for Datasource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Datasource").field("write", &self.write).finish_non_exhaustive()
    }
}

impl Datasource {
    /// The file that the address is read from.
    pub(super) fn file(&self) -> Option<std::path::PathBuf> {
        Some(&self.url_file).filter(|file| !file.is_empty()).map(Into::into)
    }

    /// The hash of its address.
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        self.options().ok().map(|options| Sha256::digest(options.url.as_bytes()).into())
    }

    fn options(&self) -> Result<DatasourceOptions, String> {
        let url = match (self.url.as_str(), self.url_file.as_str()) {
            (url, "") => url.to_string(),
            ("", file) => {
                let read = std::fs::read_to_string(file);
                read.map_err(|e| format!("url_file: cannot read {file}: {e}"))?.trim().to_string()
            }
            _ => return Err("url and url_file: expected one of them".into()),
        };
        Ok(DatasourceOptions {
            url,
            write: self.write,
            javascript: self.javascript,
            rows_max: self.rows_max,
            bytes_max: self.bytes_max,
            query_ms_max: self.query_ms_max,
            connections_max: self.connections_max,
        })
    }
}

/// The datasources as flows find them; every problem is told.
pub fn open(configured: &BTreeMap<String, Datasource>) -> Result<Datasources, Vec<String>> {
    let mut all = BTreeMap::new();
    let mut problems = Vec::new();
    for (name, source) in configured {
        match source.options() {
            Ok(options) => drop(all.insert(name.clone(), options)),
            Err(problem) => problems.push(format!("datasources.{name}.{problem}")),
        }
    }
    match Datasources::new(all) {
        Ok(sources) if problems.is_empty() => Ok(sources),
        opened => Err(problems.into_iter().chain(opened.err().into_iter().flatten()).collect()),
    }
}

/// Whether a variable is about a datasource.
pub(super) fn is_variable(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Reads a variable's text as a key's value.
type Read = fn(&str) -> Option<Value>;

/// Puts variables over what the file says: `PROBITY_DATASOURCES_ORDERS_URL` is `url` under `[datasources.orders]`. A
/// name that is not in the file is taken in small letters.
pub(super) fn from_environment(merged: &mut Table, variables: &[(String, String)], problems: &mut Vec<String>) {
    let Some(Value::Table(sources)) = merged.get_mut("datasources") else { return };
    for (variable, text) in variables.iter().filter(|(name, _)| is_variable(name)) {
        let rest = &variable[PREFIX.len()..];
        let text = text.trim();
        let keys: [(&str, Read); 8] = [
            ("url_file", |text| Some(Value::String(text.into()))),
            ("url", |text| Some(Value::String(text.into()))),
            ("write", |text| text.parse().ok().map(Value::Boolean)),
            ("javascript", |text| text.parse().ok().map(Value::Boolean)),
            ("rows_max", |text| text.parse().ok().map(Value::Integer)),
            ("bytes_max", |text| text.parse().ok().map(Value::Integer)),
            ("query_ms_max", |text| text.parse().ok().map(Value::Integer)),
            ("connections_max", |text| text.parse().ok().map(Value::Integer)),
        ];
        let found = keys.iter().find_map(|(key, read)| {
            let name = rest.strip_suffix(&key.to_uppercase())?.strip_suffix('_')?;
            Some((name, *key, read)).filter(|_| !name.is_empty())
        });
        let Some((name, key, read)) = found else {
            problems.push(format!("{variable}: expected {PREFIX}<NAME>_URL, _URL_FILE, _WRITE or another of its keys"));
            continue;
        };
        let Some(value) = read(text) else {
            problems.push(format!("{variable}: this is no value of {key}"));
            continue;
        };
        let known = sources.keys().find(|known| known.to_uppercase().replace('-', "_") == name).cloned();
        let entry = sources.entry(known.unwrap_or_else(|| name.to_lowercase()));
        let source = entry.or_insert_with(|| Value::Table(Table::new()));
        if let Value::Table(source) = source {
            // The two ways to give the address replace each other.
            match key {
                "url" => drop(source.remove("url_file")),
                "url_file" => drop(source.remove("url")),
                _ => {}
            }
            source.insert(key.into(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<BTreeMap<String, Datasource>, Vec<String>> {
        let mut merged: Table = format!("[datasources]\n{file}").parse().unwrap();
        let variables: Vec<_> = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let mut problems = Vec::new();
        from_environment(&mut merged, &variables, &mut problems);
        if !problems.is_empty() {
            return Err(problems);
        }
        merged.remove("datasources").unwrap().try_into().map_err(|e: toml::de::Error| vec![e.message().to_string()])
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let secret = dir.path().join("url");
        std::fs::write(&secret, "sqlite:/b.db\n").unwrap();
        let sources = read(
            "[datasources.my-orders]\nurl = \"sqlite:/a.db\"\nrows_max = 7\n",
            &[
                ("PROBITY_DATASOURCES_MY_ORDERS_URL_FILE", secret.to_str().unwrap()),
                ("PROBITY_DATASOURCES_MY_ORDERS_WRITE", "true"),
                ("PROBITY_DATASOURCES_OTHER_URL", "postgres://u:s3cret@h/d"),
            ],
        )
        .unwrap();
        let options = sources["my-orders"].options().unwrap();
        assert_eq!((options.url.as_str(), options.write, options.rows_max), ("sqlite:/b.db", true, 7));
        assert!(open(&sources).unwrap().get("other").is_some());
        assert!(!format!("{sources:?}").contains("s3cret"));
    }

    #[test]
    fn problems_name_the_key_and_not_the_secret() {
        for (variables, said) in [
            (&[("PROBITY_DATASOURCES_URL", "s3cret")][..], "expected PROBITY_DATASOURCES_<NAME>_URL"),
            (&[("PROBITY_DATASOURCES_A_WRITE", "s3cret")], "no value of write"),
        ] {
            let problems = read("", variables).unwrap_err().join(" ");
            assert!(problems.contains(said) && !problems.contains("s3cret"), "{problems}");
        }
        let sources = read("[datasources.a]\nurl = \"s3cret\"\n[datasources.b]\nurl_file = \"/no/file\"", &[]).unwrap();
        let problems = open(&sources).err().unwrap().join(" ");
        assert!(problems.contains("datasources.a.url") && problems.contains("datasources.b.url_file"), "{problems}");
        assert!(!problems.contains("s3cret"), "{problems}");
        assert!(read("[datasources.a]\nulr = \"s3cret\"", &[]).unwrap_err()[0].contains("ulr"));
    }
}
