//! The call that is being handled: its message as it came, what the node type may use, what went wrong so far.

use std::cell::RefCell;

use rquickjs::{Ctx, Error, Exception, Object, Result, Value};

use crate::host::host;
use crate::{Failure, Property};

/// The capabilities of `plugins/wit/plugin.wit`, as bits of a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Capability {
    Clock,
    Random,
    Secret,
    Http,
    State,
    Evidence,
    TypedInput,
    Context,
    Files,
}

impl Capability {
    const ALL: [(Capability, &'static str); 9] = [
        (Capability::Clock, "clock"),
        (Capability::Random, "random"),
        (Capability::Secret, "secret"),
        (Capability::Http, "http"),
        (Capability::State, "state"),
        (Capability::Evidence, "evidence"),
        (Capability::TypedInput, "typed-input"),
        (Capability::Context, "context"),
        (Capability::Files, "files"),
    ];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

/// What one node type declares to use.
#[derive(Clone, Copy, Default)]
pub struct Capabilities(u16);

impl Capabilities {
    /// The set of these names; unknown ones were refused when the source was read.
    pub fn of(names: &[String]) -> Capabilities {
        let bits = Capability::ALL.iter().filter(|(_, n)| names.iter().any(|x| x == n));
        Capabilities(bits.fold(0, |set, (c, _)| set | 1 << *c as u16))
    }

    /// What function nodes may use: time, chance and context.
    pub fn of_functions() -> Capabilities {
        let all = [Capability::Clock, Capability::Random, Capability::Context];
        Capabilities(all.iter().fold(0, |set, c| set | 1 << *c as u16))
    }

    /// Whether `name` is a capability at all.
    pub fn known(name: &str) -> bool {
        Capability::ALL.iter().any(|(_, n)| *n == name)
    }

    fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u16) != 0
    }
}

/// One property of the message as the engine gave it.
pub struct Incoming {
    pub property: Property,
    /// Its place in the instance's table of names; `None` when that is full.
    pub place: Option<usize>,
}

/// One call of `process` or `runEnd`.
pub struct Call {
    /// Counts the instance's calls, from 1. A message object carries it, so that one kept from an earlier call is known.
    pub id: u32,
    pub node_type: String,
    pub run: String,
    pub caller: bool,
    pub incoming: Vec<Incoming>,
    pub capabilities: Capabilities,
    /// State of `Math.random`; seeded by the host at its first use in the call.
    pub random: Option<[u64; 2]>,
    /// What `node.error(text, msg)` reported first.
    pub reported: Option<Failure>,
    /// False while what a failed call left behind runs out: nothing of it reaches the host any more.
    pub open: bool,
    /// Of a function node: the message whose emissions the engine expects next.
    pub origin: u32,
}

thread_local! {
    static CALL: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// Starts a call.
pub fn begin(call: Call) {
    CALL.with(|c| *c.borrow_mut() = Some(call));
}

/// Ends it.
pub fn end() -> Option<Call> {
    CALL.with(|c| c.borrow_mut().take())
}

/// The open call, or an error that says what `what` needs.
pub fn with<T>(ctx: &Ctx<'_>, what: &str, use_it: impl FnOnce(&mut Call) -> T) -> Result<T> {
    CALL.with(|c| match c.borrow_mut().as_mut() {
        Some(call) if call.open => Ok(use_it(call)),
        Some(_) => Err(throw(ctx, &format!("{what}: this call has already failed"), Some("call_over"))),
        None => Err(throw(
            ctx,
            &format!(
                "{what} works only while a message is handled, not while the source is loaded: call it from process()"
            ),
            Some("no_call"),
        )),
    })
}

/// The call whether it is open or not.
pub fn peek<T>(use_it: impl FnOnce(&mut Call) -> T) -> Option<T> {
    CALL.with(|c| c.borrow_mut().as_mut().map(use_it))
}

/// Fails with the lines to add unless the node type declares `capability`.
pub fn need(ctx: &Ctx<'_>, what: &str, capability: Capability) -> Result<()> {
    let missing = with(ctx, what, |call| (!call.capabilities.has(capability)).then(|| call.node_type.clone()))?;
    let Some(node_type) = missing else { return Ok(()) };
    let name = capability.name();
    let more = match capability {
        Capability::Http => ", hosts = [\"…\"]",
        Capability::Secret => ", secrets = [\"…\"]",
        _ => "",
    };
    Err(throw(
        ctx,
        &format!(
            "{what} needs the capability `{name}`: add \"{name}\" to `capabilities` of the node `{node_type}`, and to \
             plugin.toml [[capability]] name = \"{name}\", reason = \"…\"{more}"
        ),
        Some("capability"),
    ))
}

/// Throws an Error with `message` and, if given, `code`.
pub fn throw(ctx: &Ctx<'_>, message: &str, code: Option<&str>) -> Error {
    match Exception::from_message(ctx.clone(), message) {
        Ok(error) => {
            if let Some(code) = code
                && let Err(e) = error.as_object().set("code", code)
            {
                return e;
            }
            error.throw()
        }
        Err(e) => e,
    }
}

/// Throws a TypeError.
pub fn throw_type<'js>(ctx: &Ctx<'js>, message: &str) -> Error {
    // Made by JavaScript's own constructor: rquickjs cuts such texts at 255 bytes.
    let made: Result<Value<'js>> = (|| {
        let constructor: rquickjs::function::Constructor = ctx.globals().get("TypeError")?;
        let error: Object = constructor.construct((message,))?;
        Ok(error.into_value())
    })();
    match made {
        Ok(error) => ctx.throw(error),
        Err(e) => e,
    }
}

/// Turns the host's refusal into an exception that the author can catch.
pub fn host_result<T>(ctx: &Ctx<'_>, result: std::result::Result<T, Failure>) -> Result<T> {
    result.map_err(|f| throw(ctx, &f.message, f.code.as_deref()))
}

/// 53 random bits as a fraction, from a generator the host seeds once per call (so that a recorded call repeats).
pub fn random(ctx: &Ctx<'_>) -> Result<f64> {
    need(ctx, "Math.random()", Capability::Random)?;
    with(ctx, "Math.random()", |call| {
        let state = call.random.get_or_insert_with(|| {
            let mut seed = host().random(16);
            seed.resize(16, 1);
            let half = |at: usize| seed[at..at + 8].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
            // xoroshiro's state must not be all zero.
            [half(0), half(8) | 1]
        });
        // xoroshiro128++ by Blackman and Vigna (public domain).
        let [s0, mut s1] = *state;
        let bits = s0.wrapping_add(s1).rotate_left(17).wrapping_add(s0);
        s1 ^= s0;
        *state = [s0.rotate_left(49) ^ s1 ^ (s1 << 21), s1.rotate_left(28)];
        (bits >> 11) as f64 / (1u64 << 53) as f64
    })
}
