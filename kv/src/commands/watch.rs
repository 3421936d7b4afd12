//! Showing how far a long command has come.

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::client::endpoint::Endpoint;
use crate::client::probe::Probe;

/// How often what is shown is brought up to date.
const REFRESH: Duration = Duration::from_millis(300);

/// Runs something, and shows meanwhile, on standard error, what the leader waits for.
pub(super) fn while_shown<T: Send>(endpoints: &[Endpoint], run: impl FnOnce() -> T + Send) -> T {
    let (end, ended) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            let probe = Probe::new(REFRESH * 3);
            let line = Line::new();
            // Nothing is shown of what is done at once.
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(REFRESH) {
                if let Some(text) = endpoints.iter().find_map(|it| waits_for(&probe, it)) {
                    line.show(text);
                }
            }
            line.end();
        });
        let result = run();
        drop(end);
        result
    })
}

/// A line that changes, on a terminal; else a line for each change.
struct Line {
    bar: Option<ProgressBar>,
    last: std::cell::RefCell<String>,
}

impl Line {
    fn new() -> Line {
        let style = ProgressStyle::with_template("{spinner} {msg}");
        let bar = stderr().is_terminal().then(ProgressBar::new_spinner);
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style);
        }
        Line { bar, last: std::cell::RefCell::default() }
    }

    fn show(&self, text: String) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None if *self.last.borrow() != text => {
                eprintln!("{text}");
                self.last.replace(text);
            }
            None => {}
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// What a leader waits for, in words; `None` if this server does not lead or waits for nothing.
fn waits_for(probe: &Probe, endpoint: &Endpoint) -> Option<String> {
    let status = probe.status(endpoint).ok()?;
    if status["role"] != "leader" {
        return None;
    }
    let membership = &status["membership"];
    if membership["goal"].is_null() {
        return None;
    }
    let waiting = membership["non_voters"].as_array().into_iter().flatten();
    let waiting = waiting.filter(|member| member["catching_up"] == true).filter_map(|member| {
        let peers = status["peers"].as_array()?;
        let peer = peers.iter().find(|peer| peer["id"] == member["id"])?;
        Some(format!("server {} is behind by {}", member["id"], lag_of(peer).0))
    });
    let waiting: Vec<String> = waiting.collect();
    Some(match (waiting.is_empty(), membership["voters_outgoing"].is_null()) {
        (false, _) => waiting.join("; "),
        (true, false) => "joint configuration: waiting for a majority of both".to_string(),
        (true, true) => "waiting for a majority".to_string(),
    })
}

/// What a peer lacks and when it was heard last, in words.
pub(super) fn lag_of(peer: &Value) -> (String, String) {
    let mut behind = format!("{} entries", peer["behind_entries"].as_u64().unwrap_or_default());
    let snapshot = &peer["snapshot"];
    if let (Some(received), Some(size)) = (snapshot["received"].as_u64(), snapshot["size"].as_u64())
    {
        let percent = (received * 100).checked_div(size).unwrap_or(100);
        behind += &format!(", snapshot {percent} %");
    }
    let contact = peer["last_contact_ms"].as_u64();
    (behind, contact.map_or("-".to_string(), |ms| format!("{ms} ms ago")))
}
