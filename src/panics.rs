//! Catches panics, and reports those that aren't caught. The code that catches a panic reports it
//! once, with the name of its component. Therefore nothing else is printed for a caught panic, even
//! with `RUST_BACKTRACE`.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::thread;

thread_local! {
    /// The number of callers on the stack of this thread that catch a panic.
    static CATCHERS: Cell<u32> = const { Cell::new(0) };
}

/// Runs some work, and catches a panic in it without printing anything.
///
/// # Errors
/// If the work panics. The error is the payload of the panic.
pub fn caught<T>(work: impl FnOnce() -> T) -> thread::Result<T> {
    CATCHERS.set(CATCHERS.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(work));
    CATCHERS.set(CATCHERS.get() - 1);
    result
}

/// Returns the message of a panic.
pub fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".into())
}

/// Installs a hook for panics. A caught panic prints nothing. Any other panic is reported by `say`
/// in one line or, with `RUST_BACKTRACE`, as usual with its backtrace.
pub fn keep_quiet(say: impl Fn(&str) + Send + Sync + 'static) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if CATCHERS.get() > 0 {
            return;
        }
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|value| value != "0") {
            return usual(panic);
        }
        say(&line(panic));
    }));
}

fn line(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(|place| format!(" at {}:{}", place.file(), place.line()));
    let thread = thread::current();
    let name = thread.name().unwrap_or("without a name");
    let said = panic.payload_as_str().unwrap_or("a panic without a message");
    format!(
        "error: waterspout has a fault: its thread \"{name}\" panicked{}: {said}; set \
         RUST_BACKTRACE=1 for a backtrace",
        place.unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_with_what_it_said() {
        assert_eq!(caught(|| 1).unwrap(), 1);
        let panic = caught(|| caught(|| panic!("inner {}", 2)).map(|()| 3)).unwrap().unwrap_err();
        assert_eq!(message(panic.as_ref()), "inner 2");
        assert_eq!(CATCHERS.get(), 0);
    }
}
