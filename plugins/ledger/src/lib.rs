//! Nodes of STATUS on its experimental ledger: for each type of node-red-status a proxy, `<type>-blockchain`, that hands
//! messages to the ledger's service.

mod proxy;

use probity_sdk::NodeType;
use probity_sdk::prelude::*;

/// The proxies, by the package of node-red-status (without its scope) that their nodes are of.
macro_rules! proxies {
    ($($package:tt: { $($node:ident = $type:tt,)+ })+) => {
        $($(
            /// Runs the node type of this name, without `-blockchain`, on STATUS's ledger.
            ///
            /// The whole message but its request and response goes to the ledger, one message after the other, and what
            /// the ledger makes of it goes on. Failures are errors. The address is *Ledger*, else
            /// `STATUS_LEDGER_ENDPOINT` of the environment.
            #[derive(Clone, Config)]
            pub struct $node {
                /// Address of the ledger, for example `ledger:80`; empty for STATUS_LEDGER_ENDPOINT of the environment.
                #[config(name = "ledgerEndpoint", label = "Ledger", default = "", config_only)]
                endpoint: String,
            }

            #[node(
                type = $type,
                category = "ledger",
                color = "#DDAA99",
                icon = "fa-link",
                capabilities = ["http", "state", "typed-input"]
            )]
            impl Node for $node {
                fn process(&self, msg: Message, cx: &Context) -> Result<()> {
                    let node = Self::TYPE.strip_suffix("-blockchain").expect("every type here ends so");
                    proxy::hand_over(&proxy::Target { package: $package, node, endpoint: &self.endpoint }, msg, cx)
                }
            }
        )+)+

        probity_sdk::plugin!($($($node),+),+);
    };
}

proxies! {
    "ai": {
        AiResponseBlockchain = "ai-response-blockchain",
    }
    "control-flow": {
        ChainResponseBlockchain = "chain-response-blockchain",
        CoexistenceBlockchain = "coexistence-blockchain",
        RespondedExistenceBlockchain = "responded-existence-blockchain",
        ResponseBlockchain = "response-blockchain",
    }
    "extraction": {
        FindObjectBlockchain = "find-object-blockchain",
        GetKvPropertyBlockchain = "get-kv-property-blockchain",
        GetPropertyValueBlockchain = "get-property-value-blockchain",
        LastTimestampBlockchain = "last-timestamp-blockchain",
    }
    "filtering": {
        FilterByBlockchain = "filter-by-blockchain",
        FilterByDateBlockchain = "filter-by-date-blockchain",
        GroupByBlockchain = "group-by-blockchain",
    }
    "integration": {
        CsvReaderBlockchain = "csv-reader-blockchain",
        GithubCollectorBlockchain = "github-collector-blockchain",
        LogGetterBlockchain = "log-getter-blockchain",
        LogTraceBlockchain = "log-trace-blockchain",
        ProjectToUrlBlockchain = "project-to-url-blockchain",
        TrelloCollectorBlockchain = "trello-collector-blockchain",
        UrlToDocBlockchain = "url-to-doc-blockchain",
    }
    "logic": {
        AndBlockchain = "and-blockchain",
        IfElseBlockchain = "if-else-blockchain",
        ImpliesBlockchain = "implies-blockchain",
        LesserThanBlockchain = "lesser-than-blockchain",
        OrBlockchain = "or-blockchain",
    }
    "status": {
        DatabinderBlockchain = "databinder-blockchain",
        FilterScopeBlockchain = "filter-scope-blockchain",
        StatusStorerBlockchain = "status-storer-blockchain",
    }
    "validation": {
        CheckPropertyBlockchain = "check-property-blockchain",
        ExistsPipeBlockchain = "exists-pipe-blockchain",
        ExistsSectionInDocBlockchain = "exists-section-in-doc-blockchain",
        ExistsUrlBlockchain = "exists-url-blockchain",
        HasActivityBlockchain = "has-activity-blockchain",
        IsValidUrlBlockchain = "is-valid-url-blockchain",
    }
}
