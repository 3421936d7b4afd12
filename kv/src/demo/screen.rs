//! What the demo shows: lines, and on a terminal a progress bar below them.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::sync::{Mutex, PoisonError};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Lines go to standard output, the bar to standard error.
pub(super) struct Screen {
    bar: Mutex<Option<ProgressBar>>,
}

/// A progress bar, visible or not, that goes when it is dropped.
pub(super) struct Bar(ProgressBar);

impl Screen {
    pub(super) fn new() -> Screen {
        Screen { bar: Mutex::default() }
    }

    /// A line, or several.
    pub(super) fn say(&self, text: &str) {
        // Whoever does not listen to the lines can still ask for the exit code.
        let say = || drop(writeln!(stdout(), "{text}"));
        match &*self.bar.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }

    pub(super) fn bar(&self, total: u64, what: &str) -> Bar {
        let visible = stdout().is_terminal() && stderr().is_terminal();
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = "  {msg} [{bar:40}] {pos} of {len}";
        // Without a style of ours there is the standard one.
        let style =
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(Some(total), target)
            .with_style(style.progress_chars("=> "))
            .with_message(what.to_string());
        *self.bar.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        Bar(bar)
    }
}

impl Bar {
    pub(super) fn advance(&self) {
        self.0.inc(1);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
