//! `setTimeout` and its kin: a call lasts until none is left.

use std::cell::RefCell;

use rquickjs::function::Rest;
use rquickjs::{Ctx, Function, Persistent, Result, Value};

use crate::call::{self, Capability};
use crate::host::host;

struct Timer {
    id: u32,
    due: u64,
    every: Option<u64>,
    function: Persistent<Function<'static>>,
    arguments: Vec<Persistent<Value<'static>>>,
}

#[derive(Default)]
struct Timers {
    last: u32,
    /// In the order in which they were set.
    waiting: Vec<Timer>,
}

thread_local! {
    static TIMERS: RefCell<Timers> = RefCell::new(Timers::default());
}

/// Longest delay, as in browsers and Node.js.
const DELAY_MS_MAX: f64 = 2_147_483_647.0;

/// Sets a timer; its id.
pub fn set<'js>(
    ctx: &Ctx<'js>,
    name: &str,
    function: Function<'js>,
    delay: f64,
    repeat: bool,
    arguments: Rest<Value<'js>>,
) -> Result<u32> {
    let delay = if delay >= 1.0 { delay.min(DELAY_MS_MAX) as u64 } else { 0 };
    let due = if delay == 0 && !repeat {
        call::with(ctx, name, |_| 0)?
    } else {
        call::need(ctx, name, Capability::Clock)?;
        host().now() + delay
    };
    let function = Persistent::save(ctx, function);
    let arguments = arguments.0.into_iter().map(|v| Persistent::save(ctx, v)).collect();
    TIMERS.with(|t| {
        let mut t = t.borrow_mut();
        t.last += 1;
        let id = t.last;
        t.waiting.push(Timer { id, due, every: repeat.then_some(delay.max(1)), function, arguments });
        Ok(id)
    })
}

/// Takes a timer away; unknown ids are nothing.
pub fn clear(id: f64) {
    TIMERS.with(|t| t.borrow_mut().waiting.retain(|w| f64::from(w.id) != id));
}

/// Takes all away.
pub fn clear_all() {
    TIMERS.with(|t| std::mem::take(&mut t.borrow_mut().waiting));
}

/// Whether any is left.
pub fn waiting() -> bool {
    TIMERS.with(|t| !t.borrow().waiting.is_empty())
}

/// Waits for the next one due and calls it.
pub fn run_next(ctx: &Ctx<'_>) -> Result<()> {
    let Some((id, due)) = TIMERS.with(|t| t.borrow().waiting.iter().min_by_key(|w| w.due).map(|w| (w.id, w.due)))
    else {
        return Ok(());
    };
    if due > 0 {
        let now = host().now();
        if due > now {
            host().sleep(u32::try_from(due - now).unwrap_or(u32::MAX));
        }
    }
    let (function, arguments) = TIMERS.with(|t| {
        let mut t = t.borrow_mut();
        let place = t.waiting.iter().position(|w| w.id == id).expect("nothing ran since it was found");
        match t.waiting[place].every {
            Some(every) => {
                let timer = &mut t.waiting[place];
                timer.due = host().now().max(due) + every;
                (timer.function.clone(), timer.arguments.clone())
            }
            None => {
                let timer = t.waiting.remove(place);
                (timer.function, timer.arguments)
            }
        }
    });
    let arguments = arguments.into_iter().map(|v| v.restore(ctx)).collect::<Result<Vec<_>>>()?;
    function.restore(ctx)?.call((Rest(arguments),))
}
