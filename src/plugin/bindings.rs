//! The contract as Rust types, generated from `plugins/wit` when the engine is compiled.

#![allow(missing_docs, clippy::all, reason = "generated; the WIT carries the docs")]

wasmtime::component::bindgen!({
    path: "plugins/wit",
    world: "interpreter",
    imports: {
        "probity:plugin/clock.sleep": async | trappable,
        "probity:plugin/http.send": async | trappable,
        "probity:plugin/context.get": async | trappable,
        "probity:plugin/context.set": async | trappable,
        "probity:plugin/files.read": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    additional_derives: [PartialEq, serde::Serialize, serde::Deserialize],
});
