//! Panics of what is simulated, caught and kept in words.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// The last panic of a thread that asked for silence.
    static CAUGHT: RefCell<Option<String>> = const { RefCell::new(None) };
    static QUIET: RefCell<bool> = const { RefCell::new(false) };
}

static INSTALL: Once = Once::new();

/// Runs something that may panic; the error is what it said, and where.
pub(crate) fn quietly<T>(run: impl FnOnce() -> T) -> Result<T, String> {
    INSTALL.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |info| {
            if QUIET.with_borrow(|quiet| *quiet) {
                CAUGHT.set(Some(info.to_string()));
            } else {
                loud(info);
            }
        }));
    });
    QUIET.set(true);
    let result = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    result.map_err(|_| {
        let said = CAUGHT.take().unwrap_or_else(|| "a panic without a word".to_string());
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_words() {
        assert_eq!(quietly(|| 7), Ok(7));
        let said = quietly(|| panic!("two leaders")).unwrap_err();
        assert!(said.contains("two leaders") && said.contains("quiet.rs"), "{said}");
    }
}
