//! `http`, `secrets` and `files`: what reaches beyond the engine.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::clock::Clock;
use crate::net::{NetRequest, NetResponse};
use crate::plugin::bindings::probity::plugin::http as contract;
use crate::plugin::bindings::probity::plugin::types::Failure;
use crate::plugin::bindings::probity::plugin::{files, secrets};

use super::{Host, OVER, failure};

/// Secrets a call was given placeholders for.
#[derive(Default)]
pub(in crate::plugin) struct Secrets(Vec<Secret>);

struct Secret {
    name: String,
    placeholder: String,
    value: String,
}

impl Secrets {
    /// Puts the secrets in the place of their placeholders; says whether there were any.
    fn reveal(&self, text: &str) -> Option<String> {
        let mut revealed: Option<String> = None;
        for secret in &self.0 {
            let text = revealed.as_deref().unwrap_or(text);
            if text.contains(&secret.placeholder) {
                revealed = Some(text.replace(&secret.placeholder, &secret.value));
            }
        }
        revealed
    }

    /// Puts names in the place of secrets, for everything that goes back to the guest or into a message.
    fn hide(&self, text: &str) -> String {
        let mut text = text.to_string();
        for secret in self.0.iter().filter(|s| !s.value.is_empty()) {
            text = text.replace(&secret.value, &format!("[secret {}]", secret.name));
        }
        text
    }

    fn hide_bytes(&self, bytes: Vec<u8>) -> Vec<u8> {
        let holds = |s: &Secret| {
            let value = s.value.as_bytes();
            !value.is_empty() && bytes.windows(value.len()).any(|w| w == value)
        };
        if self.0.iter().any(holds) {
            return self.hide(&String::from_utf8_lossy(&bytes)).into_bytes();
        }
        bytes
    }
}

impl secrets::Host for Host {
    fn placeholder(&mut self, name: String) -> wasmtime::Result<Result<String, Failure>> {
        self.call()?;
        if !self.facts.granted.allows_secret(&name) {
            let what = format!("the secret \"{name}\" is not granted");
            return Ok(Err(self.refuse(what, &format!("secret --name {name}"))));
        }
        // A message must not choose which secret goes out: only who wrote the flow does.
        if !self.node.secrets.contains(&name) {
            let message =
                format!("the configuration of this node does not name the secret \"{name}\"; write \"secret:{name}\"");
            return Ok(Err(failure(message, "EPERM")));
        }
        let Some(value) = (self.facts.surroundings.read_secret)(&name) else {
            let variable = format!("PROBITY_SECRET_{}", name.to_uppercase().replace('-', "_"));
            let message = format!("there is no secret \"{name}\"; set {variable}, or a file in secrets.dir");
            return Ok(Err(failure(message, "ENOENT")));
        };
        let call = self.call()?;
        if let Some(known) = call.secrets.0.iter().find(|s| s.name == name) {
            return Ok(Ok(known.placeholder.clone()));
        }
        let placeholder = format!("probity-secret-{}", uuid::Uuid::new_v4().simple());
        call.secrets.0.push(Secret { name, placeholder: placeholder.clone(), value });
        Ok(Ok(placeholder))
    }
}

impl contract::Host for Host {
    async fn send(&mut self, request: contract::Request) -> wasmtime::Result<Result<contract::Response, Failure>> {
        self.call()?;
        if let Err(refused) = self.granted("http") {
            return Ok(Err(refused));
        }
        let (facts, response_bytes_max) = (self.facts.clone(), self.facts.all.response_bytes_max);
        let call_ms_max = facts.limits.call_ms_max;
        let secrets = &self.call()?.secrets;
        let mut request = match net_request(request, secrets, call_ms_max, response_bytes_max) {
            Ok(request) => request,
            Err(wrong) => return Ok(Err(wrong)),
        };
        if let Some(key) = self.call()?.next_key()
            && !request.headers.contains_key("idempotency-key")
            && let Ok(key) = HeaderValue::from_str(&key)
        {
            request.headers.insert("idempotency-key", key);
        }
        let answer = facts.net.request(request).await;
        let secrets = &self.call()?.secrets;
        match answer {
            Ok(answer) => Ok(Ok(response(answer, secrets))),
            Err(error) => {
                let (text, code) = (secrets.hide(&error.message), error.code);
                match error.to_grant {
                    Some(host) => Ok(Err(self.refuse(text, &format!("http --host {host}")))),
                    None => Ok(Err(failure(text, code))),
                }
            }
        }
    }
}

fn net_request(
    request: contract::Request,
    secrets: &Secrets,
    ms_max: u64,
    response_bytes_max: usize,
) -> Result<NetRequest, Failure> {
    let wrong = |what: String| failure(what, "EINVAL");
    let mut secret = false;
    let mut reveal = |text: String| match secrets.reveal(&text) {
        Some(revealed) => {
            secret = true;
            revealed
        }
        None => text,
    };
    let shown = request.url.clone();
    let url = Url::parse(&reveal(request.url)).map_err(|e| wrong(format!("\"{shown}\" is no URL: {e}")))?;
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| wrong(format!("\"{}\" is no HTTP method", request.method)))?;
    let mut headers = HeaderMap::new();
    for (name, value) in request.headers {
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(format!("\"{name}\" is no header")))?;
        let value = HeaderValue::from_str(&reveal(value))
            .map_err(|_| wrong(format!("the value of header {name} has characters a header cannot carry")))?;
        headers.append(header, value);
    }
    let body = match std::str::from_utf8(&request.body) {
        Ok(text) => match secrets.reveal(text) {
            Some(revealed) => {
                secret = true;
                Bytes::from(revealed)
            }
            None => Bytes::from(request.body),
        },
        Err(_) => Bytes::from(request.body),
    };
    let ms = u64::from(request.timeout_ms.unwrap_or(u32::MAX)).min(ms_max);
    Ok(NetRequest {
        headers,
        body,
        timeout: Some(Duration::from_millis(ms)),
        // A redirect could carry the secret to a host nobody meant it for: it is the answer then.
        redirects_max: secret.then_some(0),
        response_bytes_max: Some(response_bytes_max),
        ..NetRequest::new(method, url)
    })
}

fn response(answer: NetResponse, secrets: &Secrets) -> contract::Response {
    let text = |value: &HeaderValue| secrets.hide(&String::from_utf8_lossy(value.as_bytes()));
    contract::Response {
        status: answer.status,
        headers: answer.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
        body: secrets.hide_bytes(answer.body.to_vec()),
    }
}

impl files::Host for Host {
    async fn read(&mut self, path: String) -> wasmtime::Result<Result<Vec<u8>, Failure>> {
        self.call()?;
        if let Err(refused) = self.granted("files") {
            return Ok(Err(refused));
        }
        let (folders, max) = (self.facts.granted.folders.clone(), self.facts.all.file_bytes_max);
        let asked = path.clone();
        let manual = matches!(self.call()?.place().services().clock, Clock::Manual(_));
        let found = match manual {
            // On another thread, a clock moved by hand would run away from it.
            true => read(&folders, Path::new(&asked), max),
            false => tokio::task::spawn_blocking(move || read(&folders, Path::new(&asked), max)).await?,
        };
        match found {
            Ok(bytes) => Ok(Ok(bytes)),
            Err(Unread::Outside) => {
                let what = format!("the file {path} is in none of the granted folders");
                Ok(Err(self.refuse(what, "files --folder FOLDER")))
            }
            Err(Unread::Large) => {
                Ok(Err(failure(format!("{path} is larger than {max} bytes (plugins.file_bytes_max)"), OVER)))
            }
            Err(Unread::Io(error)) => Ok(Err(failure(format!("cannot read {path}: {error}"), "ENOENT"))),
        }
    }
}

/// Why a file was not read.
enum Unread {
    Outside,
    Large,
    Io(std::io::Error),
}

/// Reads a file below one of the folders, symbolic links followed first. A relative path is tried in each.
fn read(folders: &[PathBuf], path: &Path, max: u64) -> Result<Vec<u8>, Unread> {
    let mut missing = None;
    for folder in folders {
        let Ok(folder) = folder.canonicalize() else { continue };
        match folder.join(path).canonicalize() {
            Ok(file) if file.starts_with(&folder) => {
                let size = file.metadata().map_err(Unread::Io)?.len();
                if size > max {
                    return Err(Unread::Large);
                }
                return std::fs::read(&file).map_err(Unread::Io);
            }
            Ok(_) => {}
            // Whether a file outside exists is not told.
            Err(error) if !path.is_absolute() && !climbs(path) => missing = Some(error),
            Err(error) if path.starts_with(&folder) && !climbs(path) => missing = Some(error),
            Err(_) => {}
        }
    }
    Err(missing.map_or(Unread::Outside, Unread::Io))
}

fn climbs(path: &Path) -> bool {
    path.components().any(|c| matches!(c, std::path::Component::ParentDir))
}
