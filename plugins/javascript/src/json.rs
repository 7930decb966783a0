//! JSON to JavaScript values and back, quicker than QuickJS's own for what messages are made of: plain objects and
//! lists with known names. Whatever is out of the ordinary is left to QuickJS, so that the results are always its own.

#![allow(clippy::unnecessary_cast, reason = "sizes are u32 in QuickJS's bindings for wasm32, usize elsewhere")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rquickjs::{Ctx, Error, qjs};

mod reading;
mod writing;

pub use reading::read;
pub use writing::write;

/// Property names an instance remembers; longer ones and more of them are made anew each time.
const NAMES_MAX: usize = 1024;
const NAME_BYTES_MAX: usize = 48;
/// Deeper values are refused: QuickJS measures its calls by a stack that its own reader and writer hardly use, so that
/// they would end the component instead.
const DEPTH_MAX: usize = 400;

/// FNV-1a: names are short, and come from the flow's author.
#[derive(Clone)]
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

type Map<K, V> = HashMap<K, V, BuildHasherDefault<Fnv>>;

/// Names by text and back. Their atoms are kept for the life of the instance.
#[derive(Default)]
struct Names {
    atoms: Map<Box<[u8]>, qjs::JSAtom>,
    /// As they are written: quoted, with the colon.
    quoted: Map<u32, Box<str>>,
}

thread_local! {
    static NAMES: RefCell<Names> = RefCell::new(Names::default());
}

/// Forgets the names; before the runtime goes.
pub fn forget() {
    NAMES.with(|n| *n.borrow_mut() = Names::default());
}

fn too_deep(ctx: &Ctx<'_>) -> Error {
    rquickjs::Exception::throw_range(ctx, &format!("JSON is nested deeper than {DEPTH_MAX} levels"))
}

/// A value that is freed unless it is taken.
struct Held(*mut qjs::JSContext, qjs::JSValue);

impl Held {
    fn take(self) -> qjs::JSValue {
        let value = self.1;
        std::mem::forget(self);
        value
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the value is owned.
        unsafe { qjs::JS_FreeValue(self.0, self.1) };
    }
}
