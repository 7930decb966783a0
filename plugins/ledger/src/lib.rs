//! Nodes of STATUS on its experimental ledger: for each type of node-red-status a proxy, `<type>-blockchain`, that hands
//! messages to the ledger's service.

mod proxy;

use probity_sdk::prelude::*;

/// Runs `ai-response` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct AiResponseBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "ai-response-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for AiResponseBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "ai", node: "ai-response", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `chain-response` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct ChainResponseBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "chain-response-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for ChainResponseBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "control-flow", node: "chain-response", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `coexistence` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct CoexistenceBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "coexistence-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for CoexistenceBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "control-flow", node: "coexistence", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `responded-existence` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct RespondedExistenceBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "responded-existence-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for RespondedExistenceBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "control-flow", node: "responded-existence", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `response` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct ResponseBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "response-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for ResponseBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "control-flow", node: "response", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `find-object` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct FindObjectBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "find-object-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for FindObjectBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "extraction", node: "find-object", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `get-kv-property` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct GetKvPropertyBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "get-kv-property-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for GetKvPropertyBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "extraction", node: "get-kv-property", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `get-property-value` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct GetPropertyValueBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "get-property-value-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for GetPropertyValueBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "extraction", node: "get-property-value", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `last-timestamp` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct LastTimestampBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "last-timestamp-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for LastTimestampBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "extraction", node: "last-timestamp", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `filter-by` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct FilterByBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "filter-by-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for FilterByBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "filtering", node: "filter-by", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `filter-by-date` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct FilterByDateBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "filter-by-date-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for FilterByDateBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "filtering", node: "filter-by-date", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `group-by` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct GroupByBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "group-by-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for GroupByBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "filtering", node: "group-by", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `csv-reader` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct CsvReaderBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "csv-reader-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for CsvReaderBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "integration", node: "csv-reader", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `github-collector` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct GithubCollectorBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "github-collector-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for GithubCollectorBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "integration", node: "github-collector", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `log-getter` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct LogGetterBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "log-getter-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for LogGetterBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "integration", node: "log-getter", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `log-trace` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct LogTraceBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "log-trace-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for LogTraceBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "integration", node: "log-trace", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `project-to-url` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct ProjectToUrlBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "project-to-url-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for ProjectToUrlBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "integration", node: "project-to-url", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `trello-collector` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct TrelloCollectorBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "trello-collector-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for TrelloCollectorBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "integration", node: "trello-collector", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `url-to-doc` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct UrlToDocBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "url-to-doc-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for UrlToDocBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "integration", node: "url-to-doc", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `and` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct AndBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "and-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for AndBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "logic", node: "and", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `if-else` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct IfElseBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "if-else-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for IfElseBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "logic", node: "if-else", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `implies` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct ImpliesBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "implies-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for ImpliesBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "logic", node: "implies", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `lesser-than` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct LesserThanBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "lesser-than-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for LesserThanBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "logic", node: "lesser-than", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `or` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct OrBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "or-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for OrBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "logic", node: "or", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `databinder` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct DatabinderBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "databinder-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for DatabinderBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "status", node: "databinder", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `filter-scope` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct FilterScopeBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "filter-scope-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for FilterScopeBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "status", node: "filter-scope", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `status-storer` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct StatusStorerBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "status-storer-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for StatusStorerBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(&proxy::Target { package: "status", node: "status-storer", endpoint: &self.endpoint }, msg, cx)
    }
}

/// Runs `check-property` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct CheckPropertyBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "check-property-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for CheckPropertyBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "validation", node: "check-property", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `exists-pipe` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct ExistsPipeBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "exists-pipe-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for ExistsPipeBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "validation", node: "exists-pipe", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `exists-section-in-doc` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct ExistsSectionInDocBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "exists-section-in-doc-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for ExistsSectionInDocBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "validation", node: "exists-section-in-doc", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `exists-url` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct ExistsUrlBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "exists-url-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for ExistsUrlBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "validation", node: "exists-url", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `has-activity` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct HasActivityBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "has-activity-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for HasActivityBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "validation", node: "has-activity", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

/// Runs `is-valid-url` on STATUS's ledger.
///
/// The whole message but its request and response goes to the ledger, one message after the other, and what the ledger
/// makes of it goes on. Failures are errors. The address is *Ledger*, else `STATUS_LEDGER_ENDPOINT` of the environment.
#[derive(Clone, Config)]
pub struct IsValidUrlBlockchain {
    /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
    #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
    endpoint: String,
}

#[node(
    type = "is-valid-url-blockchain",
    category = "ledger",
    color = "#DDAA99",
    icon = "fa-link",
    capabilities = ["http", "state", "typed-input"]
)]
impl Node for IsValidUrlBlockchain {
    fn process(&self, msg: Message, cx: &Context) -> Result<()> {
        proxy::hand_over(
            &proxy::Target { package: "validation", node: "is-valid-url", endpoint: &self.endpoint },
            msg,
            cx,
        )
    }
}

probity_sdk::plugin!(
    AiResponseBlockchain,
    ChainResponseBlockchain,
    CoexistenceBlockchain,
    RespondedExistenceBlockchain,
    ResponseBlockchain,
    FindObjectBlockchain,
    GetKvPropertyBlockchain,
    GetPropertyValueBlockchain,
    LastTimestampBlockchain,
    FilterByBlockchain,
    FilterByDateBlockchain,
    GroupByBlockchain,
    CsvReaderBlockchain,
    GithubCollectorBlockchain,
    LogGetterBlockchain,
    LogTraceBlockchain,
    ProjectToUrlBlockchain,
    TrelloCollectorBlockchain,
    UrlToDocBlockchain,
    AndBlockchain,
    IfElseBlockchain,
    ImpliesBlockchain,
    LesserThanBlockchain,
    OrBlockchain,
    DatabinderBlockchain,
    FilterScopeBlockchain,
    StatusStorerBlockchain,
    CheckPropertyBlockchain,
    ExistsPipeBlockchain,
    ExistsSectionInDocBlockchain,
    ExistsUrlBlockchain,
    HasActivityBlockchain,
    IsValidUrlBlockchain,
);
