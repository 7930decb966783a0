//! `microsoft-graph`: sites and files, as an application (client credentials).

use probity_sdk::{Error, ErrorContext, Result, Value, bail};
use status_conventions::service::{encoded, path};

use super::Question;
use crate::fetching::{Ask, joined};

const BASE: &str = "https://graph.microsoft.com/v1.0";
const LOGIN: &str = "https://login.microsoftonline.com";
const SCOPE: &str = "https://graph.microsoft.com/.default";

pub fn ask(question: &Question<'_>) -> Result<Ask> {
    let base = question.config("baseUrl")?.unwrap_or_else(|| BASE.to_owned());
    let below = match question.method {
        "listSiteItems" => {
            let site = encoded(&question.needed("siteId")?);
            let folder = question.option("folderPath").map(|folder| path(&folder)).filter(|f| !f.is_empty());
            let of_root = folder.map(|folder| format!(":/{folder}:")).unwrap_or_default();
            format!("/sites/{site}/drive/root{of_root}/children")
        }
        // `host:/sites/name`, as Graph writes it.
        "getSiteIdByPath" => format!("/sites/{}", path(&question.needed("sitePath")?).replace("%3A", ":")),
        "default" if question.option("endpoint").is_some() => question.needed("endpoint")?,
        _ => return Err(question.no_method("listSiteItems, getSiteIdByPath, and default with an endpoint")),
    };
    let mut ask = question.request(joined(&base, &below)?)?;
    let token = token(question).context("Microsoft Graph gave no token")?;
    ask.header("authorization", format!("Bearer {token}"));
    Ok(ask)
}

fn token(question: &Question<'_>) -> Result<String> {
    let login = question.config("loginUrl")?.unwrap_or_else(|| LOGIN.to_owned());
    let tenant = encoded(&question.required("tenantId")?);
    let scopes = question.source.config.get("scopes").and_then(Value::as_array);
    let scopes: Vec<&str> = scopes.into_iter().flatten().filter_map(Value::as_str).collect();
    let scope = if scopes.is_empty() { SCOPE.to_owned() } else { scopes.join(" ") };
    let mut ask = Ask::get(joined(&login, &format!("{tenant}/oauth2/v2.0/token"))?);
    ask.method = "POST".to_owned();
    ask.header("content-type", "application/x-www-form-urlencoded");
    // The answer says why a client was refused.
    ask.last_status = true;
    let Some(client_secret) = question.secret("clientSecret")? else {
        bail!("config.clientSecret of the linker is missing")
    };
    let form = [
        ("client_id", question.required("clientId")?),
        ("client_secret", client_secret),
        ("scope", scope),
        ("grant_type", "client_credentials".to_owned()),
    ];
    let fields: Vec<String> = form.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    ask.body = fields.join("&").into_bytes();
    let answer = ask.send(question.cx)?;
    let said: Value = answer.json()?;
    match said.get("access_token").and_then(Value::as_str) {
        Some(token) if answer.status() == 200 => Ok(token.to_owned()),
        _ => {
            let why = said.get("error_description").and_then(Value::as_str).unwrap_or("no access_token in the answer");
            let why = why.lines().next().unwrap_or_default();
            let status = answer.status();
            if status == 200 {
                bail!("{why}");
            }
            Err(Error::new(format!("{status}: {why}")).with_code(format!("http-{status}")))
        }
    }
}
