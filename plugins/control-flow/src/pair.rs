//! The configuration of the nodes about two activities, A and B, and what they do with it.

/// Names of the properties with the activities.
pub const NAMES: [&str; 2] = ["eventAName", "eventBName"];

/// A node's configuration, with its help and what its `compat` means. The node judges a trace by `verdict(&self, trace)`.
macro_rules! pair {
    ($(#[doc = $help:tt])+ pub struct $node:ident; $(#[doc = $compat:tt])+ compat) => {
        $(#[doc = $help])+
        #[derive(Clone, Config)]
        pub struct $node {
            /// Activity of event A (`concept:name`).
            #[config(name = "eventAName", label = "Event A", default = "")]
            a: String,
            /// Activity of event B (`concept:name`).
            #[config(name = "eventBName", label = "Event B", default = "")]
            b: String,
            /// Turn the result around.
            #[config(label = "Negate", default = false)]
            negate: bool,
            /// Keep what was found as evidence.
            #[config(name = "storeEvidences", label = "Store evidences", default = false)]
            store_evidences: bool,
            $(#[doc = $compat])+
            #[config(label = "As in node-red-status", default = false, config_only)]
            compat: bool,
        }

        impl $node {
            fn judge(&self, msg: Message, cx: &Context) -> Result<()> {
                let config = self.over(&msg)?;
                let verdict = config.verdict(&$crate::trace::Trace::of(&msg)?)?;
                verdict.send(msg, cx, config.negate, config.store_evidences)
            }
        }
    };
}

pub(crate) use pair;
