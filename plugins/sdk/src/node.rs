//! What a node type is: its code ([`Node`]) and what the palette and the engine know of it ([`NodeType`]).

use std::cell::OnceCell;
use std::sync::Once;
use std::thread::LocalKey;

pub use crate::bindings::exports::probity::plugin::handler::Description;
use crate::bindings::probity::plugin::types::{self, Failure};
use crate::message::parse;
use crate::{Config, Context, ErrorContext, Message, Result, host};

/// The code of a node type. The type itself is the node's configuration; `#[node(…)]` on the `impl` says the rest.
pub trait Node: Config {
    /// Handles one message: sends what there is to send with [`cx.emit`](Context::emit), or returns an error, which
    /// goes to the flow's catch nodes.
    ///
    /// Keep nothing between calls but what `&self` is: another caller's message may come next.
    fn process(&self, msg: Message, cx: &Context) -> Result<()>;

    /// The run has nothing else left to do; `last` is the last message this node had in it. Called only for node
    /// types that write this function.
    fn run_end(&self, last: Message, cx: &Context) -> Result<()> {
        let _ = (last, cx);
        Ok(())
    }
}

/// What is known of a node type before it runs. Written by `#[node(…)]`.
pub trait NodeType: Node + 'static {
    /// As flows write it.
    const TYPE: &'static str;
    /// The message properties that cross; `None` for all.
    const WANTS: Option<&'static [&'static str]>;
    /// The capabilities it uses.
    const CAPABILITIES: &'static [&'static str];

    /// For the palette, the editor and the engine.
    fn description() -> Description;
}

/// The first sentence or line of a documentation text.
#[doc(hidden)]
pub fn summary(doc: &str) -> String {
    let paragraph = doc.trim().split("\n\n").next().unwrap_or_default().replace('\n', " ");
    match paragraph.find(". ") {
        Some(end) => paragraph[..=end].to_owned(),
        None => paragraph,
    }
}

/// Handles one message, or a run's end, with the node whose configuration is kept in `node`: an instance serves one
/// node only, and is dropped when that changes.
#[doc(hidden)]
pub fn call<N: NodeType>(
    node: &'static LocalKey<OnceCell<N>>,
    input: types::Message,
    handle: fn(&N, Message, &Context) -> Result<()>,
) -> Result<(), Failure> {
    static PANICS: Once = Once::new();
    PANICS.call_once(log_panics);
    node.with(|kept| {
        let node = match kept.get() {
            Some(node) => node,
            None => {
                let node = configured().map_err(crate::Error::into_failure)?;
                kept.get_or_init(|| node)
            }
        };
        handle(node, Message::incoming(input, N::WANTS), &Context::of_this_call()).map_err(crate::Error::into_failure)
    })
}

fn configured<N: NodeType>() -> Result<N> {
    let config = parse(&host::node::config()).context("the node's properties")?;
    crate::config::read(&config)
}

/// A panic becomes a trap whose backtrace says little. Its message and the author's line go to the log before.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let what = panic.payload();
        let text = what.downcast_ref::<&str>().copied().or(what.downcast_ref::<String>().map(String::as_str));
        let place = panic.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        host::node::log(host::node::Level::Error, &format!("panicked at {place}: {}", text.unwrap_or("no message")));
    }));
}

#[doc(hidden)]
pub fn unknown(node_type: &str, known: &[&str]) -> Failure {
    Failure {
        message: format!("this plugin has no node type `{node_type}`; it has {}", known.join(", ")),
        code: Some("unknown-node-type".to_owned()),
    }
}

/// Exports the node types of a plugin: `probity_sdk::plugin!(Threshold, Counter);`, once, at the crate's root.
#[macro_export]
macro_rules! plugin {
    ($($node:ty),+ $(,)?) => {
        #[allow(unsafe_code)]
        const _: () = {
            use $crate::bindings::exports::probity::plugin::handler::{Description, Guest};
            use $crate::bindings::probity::plugin::types::{Failure, Message};

            struct Plugin;

            impl Plugin {
                fn call(
                    node_type: &str,
                    message: Message,
                    at_run_end: bool,
                ) -> ::core::result::Result<(), Failure> {
                    $(
                        if node_type == <$node as $crate::NodeType>::TYPE {
                            ::std::thread_local! {
                                static NODE: ::core::cell::OnceCell<$node> =
                                    const { ::core::cell::OnceCell::new() };
                            }
                            let handle = if at_run_end {
                                <$node as $crate::Node>::run_end
                            } else {
                                <$node as $crate::Node>::process
                            };
                            return $crate::node::call::<$node>(&NODE, message, handle);
                        }
                    )+
                    ::core::result::Result::Err($crate::node::unknown(
                        node_type,
                        &[$(<$node as $crate::NodeType>::TYPE),+],
                    ))
                }
            }

            impl Guest for Plugin {
                fn describe() -> ::std::vec::Vec<Description> {
                    ::std::vec![$(<$node as $crate::NodeType>::description()),+]
                }

                fn process(node_type: ::std::string::String, input: Message) -> ::core::result::Result<(), Failure> {
                    Self::call(&node_type, input, false)
                }

                fn run_end(node_type: ::std::string::String, last: Message) -> ::core::result::Result<(), Failure> {
                    Self::call(&node_type, last, true)
                }
            }

            #[cfg(target_family = "wasm")]
            $crate::bindings::export_plugin!(Plugin with_types_in $crate::bindings);
            // Compiled natively too, so that an author's editor sees its mistakes.
            #[cfg(not(target_family = "wasm"))]
            const _: (
                fn() -> ::std::vec::Vec<Description>,
                fn(&str, Message, bool) -> ::core::result::Result<(), Failure>,
            ) = (<Plugin as Guest>::describe, Plugin::call);
        };
    };
}

/// The configuration's JSON Schema as text.
#[doc(hidden)]
pub fn schema<C: Config>() -> String {
    let mut schema = serde_json::json!({ "$schema": "https://json-schema.org/draft/2020-12/schema" });
    if let (Some(whole), serde_json::Value::Object(object)) = (schema.as_object_mut(), C::schema()) {
        whole.extend(object);
    }
    schema.to_string()
}
