//! `/diagnostics`: what the editor shows as system information, in the shape of Node-RED's report. What Node.js alone has
//! is named after what stands in its place, or is zero.

use std::collections::BTreeMap;

use axum::response::Response;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::answer;
use super::{Ask, NODE_RED_VERSION, Route, route};

pub(super) const ROUTES: &[Route] = &[route!(GET "/diagnostics", "diagnostics.read", get)];

async fn get(ask: Ask) -> Response {
    match tokio::task::spawn_blocking(move || report(&ask)).await {
        Ok(report) => answer::json(&report),
        Err(error) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "unexpected_error", &error.to_string()),
    }
}

fn report(ask: &Ask) -> Json {
    let now = ask.api.clock().now();
    let text = |format: &str| now.strftime(format).to_string();
    let modules = ask.admin.palette.modules(&ask.api.engine.catalogue());
    let modules: BTreeMap<String, String> = modules.into_iter().map(|m| (m.name, m.version)).collect();
    let state = ask.admin.flows.state();
    let unset = "UNSET";
    let setting = |name: &str| ask.api.options.editor.get(name).cloned().unwrap_or_else(|| unset.into());
    let context = &ask.api.engine.services.context;
    json!({
        "report": "diagnostics",
        "scope": "basic",
        "time": { "utc": text("%a, %d %b %Y %H:%M:%S GMT"), "local": text("%-m/%-d/%Y, %-I:%M:%S %p") },
        "intl": { "locale": "en-US", "timeZone": "UTC" },
        "nodejs": {
            "version": format!("Probity {}", env!("CARGO_PKG_VERSION")),
            "arch": arch(),
            "platform": std::env::consts::OS,
            "memoryUsage": { "rss": proc_bytes("/proc/self/status", "VmRSS:"), "heapTotal": 0, "heapUsed": 0,
                             "external": 0, "arrayBuffers": 0 },
        },
        "os": {
            "containerised": std::path::Path::new("/.dockerenv").exists(),
            "wsl": false,
            "totalmem": proc_bytes("/proc/meminfo", "MemTotal:"),
            "freemem": proc_bytes("/proc/meminfo", "MemAvailable:"),
            "arch": arch(),
            "loadavg": numbers("/proc/loadavg", 3),
            "platform": std::env::consts::OS,
            "release": line("/proc/sys/kernel/osrelease"),
            "type": line("/proc/sys/kernel/ostype"),
            "uptime": numbers("/proc/uptime", 1).first().copied().unwrap_or_default(),
            "version": line("/proc/sys/kernel/version"),
        },
        "runtime": {
            "version": NODE_RED_VERSION,
            "isStarted": true,
            "flows": { "state": state, "started": state == "start" },
            "modules": modules,
            "settings": {
                "available": true,
                "apiMaxLength": format!("{}b", ask.api.options.body_bytes_max),
                "disableEditor": false,
                "contextStorage": context.stores().iter()
                    .map(|store| (store.clone(), json!({ "module": context.home(store).module() }))).collect::<serde_json::Map<_, _>>(),
                "debugMaxLength": setting("debugMaxLength"),
                "editorTheme": setting("editorTheme"),
                "flowFile": ask.admin.flows.current().file.file,
                "mqttReconnectTime": unset,
                "serialReconnectTime": unset,
                "socketReconnectTime": unset,
                "socketTimeout": unset,
                "tcpMsgQueueSize": unset,
                "inboundWebSocketTimeout": unset,
                "runtimeState": { "enabled": ask.admin.runtime_state, "ui": ask.admin.runtime_state },
                "adminAuth": if ask.api.options.auth.is_open() { unset } else { "SET" },
                "httpAdminRoot": ask.admin.root,
                "httpAdminCors": unset,
                "httpNodeAuth": if ask.api.options.auth.flow_users.is_empty() { unset } else { "SET" },
                "httpNodeRoot": ask.api.options.node_root,
                "httpNodeCors": unset,
                "httpStatic": unset,
                "httpStaticRoot": unset,
                "httpStaticCors": unset,
                "uiHost": "SET",
                "uiPort": "SET",
                "userDir": "SET",
                "nodesDir": unset,
            },
        },
    })
}

/// As Node.js names it.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn line(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_string()
}

fn numbers(path: &str, count: usize) -> Vec<f64> {
    line(path).split_whitespace().take(count).filter_map(|n| n.parse().ok()).collect()
}

/// A `Name:   123 kB` line of a file of the kernel's, in bytes; 0 where there is none.
fn proc_bytes(path: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    value.unwrap_or_default() * 1024
}
