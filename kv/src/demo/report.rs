//! The summary at the end, and whether all held.

use std::time::{Duration, Instant};

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use super::check::Findings;
use super::load::{Fate, Ledger};
use super::observe::SameState;
use super::story::Events;

/// How many keys are named of those that are not as they must be.
const NAMED: usize = 5;
/// Writes that stand still for longer after the new leader was seen do so for another reason.
const AFTERMATH: Duration = Duration::from_secs(1);

/// All that was seen.
pub(super) struct Report {
    pub(super) nodes: u64,
    pub(super) ledger: Ledger,
    pub(super) events: Events,
    pub(super) elapsed: Duration,
    pub(super) findings: Findings,
    pub(super) state: SameState,
}

impl Report {
    /// The summary for people.
    pub(super) fn table(&self) -> String {
        let Report { ledger, events, findings, .. } = self;
        let acknowledged = ledger.acknowledgements.len();
        let seconds = self.elapsed.as_secs_f64();
        let rate = ledger.entries.len() as f64 / seconds.max(0.001);
        let unknown_not_done = ledger.unknown.saturating_sub(ledger.unknown_done);
        let (killed, new) = (events.killed, events.new_leader);
        let still = standstill(&ledger.acknowledgements, events);
        let rows = [
            ("nodes", self.nodes.to_string()),
            ("writes acknowledged", format!("{acknowledged} of {}", ledger.entries.len())),
            (
                "outcome unknown",
                format!(
                    "{}, read back: {} done, {unknown_not_done} not done and written again",
                    ledger.unknown, ledger.unknown_done
                ),
            ),
            ("certainly not done and tried again", ledger.not_done.to_string()),
            ("throughput", format!("{rate:.0} writes/s, {seconds:.1} s in all")),
            (
                "leader killed",
                format!(
                    "node {}, term {}, after {} writes",
                    killed.id, killed.term, events.killed_after_writes
                ),
            ),
            ("new leader", format!("node {}, term {}", new.id, new.term)),
            (
                "writes stood still for",
                still.map_or("not measured".to_string(), |gap| format!("{} ms", gap.as_millis())),
            ),
            (
                "restarted node caught up after",
                format!("{} ms", events.caught_up_after.as_millis()),
            ),
            ("acknowledged writes missing", findings.missing.len().to_string()),
            ("keys with a wrong value", findings.wrong.len().to_string()),
            ("state digests", self.digests()),
        ];
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED);
        for (what, value) in rows {
            table.add_row([what.to_string(), value]);
        }
        table.to_string()
    }

    fn digests(&self) -> String {
        match &self.state {
            SameState::Equal(state) => format!("equal at index {}: {}", state.index, state.digest),
            SameState::Differ(states) => {
                let digests: Vec<&str> = states.iter().map(|state| &*state.digest).collect();
                let index = states.first().map_or(0, |state| state.index);
                format!("differ at index {index}: {}", digests.join(", "))
            }
            SameState::NeverAtOneIndex => "never at one index".to_string(),
        }
    }

    /// Whether all held; if not, what did not.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let mut broken = Vec::new();
        if !self.findings.missing.is_empty() {
            broken.push(format!("acknowledged and not there: {}", named(&self.findings.missing)));
        }
        if !self.findings.wrong.is_empty() {
            broken.push(format!("wrong value or version: {}", named(&self.findings.wrong)));
        }
        let left = self.ledger.entries.iter().filter(|entry| entry.fate == Fate::Unknown).count();
        if left > 0 {
            broken.push(format!("{left} writes never came to an end"));
        }
        if !matches!(self.state, SameState::Equal(_)) {
            broken.push(format!("state digests {}", self.digests()));
        }
        if broken.is_empty() { Ok(()) } else { Err(format!("did not hold: {}", broken.join("; "))) }
    }
}

fn named(keys: &[String]) -> String {
    let more = if keys.len() > NAMED { ", ..." } else { "" };
    format!("{} ({}{more})", keys.len(), keys[..keys.len().min(NAMED)].join(", "))
}

/// The longest time between two acknowledgements, around the leader's loss.
fn standstill(acknowledgements: &[Instant], events: &Events) -> Option<Duration> {
    longest_gap(acknowledgements, events.killed_at, events.led_at + AFTERMATH)
}

/// The longest of the gaps that end after `from` and begin before `to`.
fn longest_gap(moments: &[Instant], from: Instant, to: Instant) -> Option<Duration> {
    let mut moments = moments.to_vec();
    moments.sort_unstable();
    let gaps = moments.windows(2).filter(|gap| gap[1] >= from && gap[0] <= to);
    gaps.map(|gap| gap[1] - gap[0]).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::probe::StateDigest;
    use crate::demo::load::Entry;
    use crate::demo::observe::Leader;

    fn report() -> Report {
        let now = Instant::now();
        let fate = Fate::Acknowledged { version: Some(3) };
        Report {
            nodes: 3,
            ledger: Ledger {
                entries: vec![Entry { number: 0, fate }; 2],
                acknowledgements: vec![now, now + Duration::from_millis(250)],
                unknown: 5,
                unknown_done: 2,
                not_done: 7,
            },
            events: Events {
                killed: Leader { id: 2, term: 4, commit_index: 1 },
                killed_at: now + Duration::from_millis(1),
                killed_after_writes: 1,
                new_leader: Leader { id: 3, term: 6, commit_index: 1 },
                led_at: now + Duration::from_millis(200),
                caught_up_after: Duration::from_millis(321),
            },
            elapsed: Duration::from_secs(2),
            findings: Findings::default(),
            state: SameState::Equal(StateDigest { index: 99, digest: "00ff".to_string() }),
        }
    }

    #[test]
    fn the_summary_tells_what_was_seen() {
        let table = report().table();
        for (what, value) in [
            ("writes acknowledged", "2 of 2"),
            ("outcome unknown", "5, read back: 2 done, 3 not done and written again"),
            ("certainly not done and tried again", "7"),
            ("throughput", "1 writes/s, 2.0 s in all"),
            ("leader killed", "node 2, term 4, after 1 writes"),
            ("new leader", "node 3, term 6"),
            ("writes stood still for", "250 ms"),
            ("restarted node caught up after", "321 ms"),
            ("acknowledged writes missing", "0"),
            ("state digests", "equal at index 99: 00ff"),
        ] {
            let row = table.lines().find(|line| line.contains(what)).unwrap();
            assert!(row.contains(value), "{table}");
        }
        assert_eq!(report().verdict(), Ok(()));
    }

    #[test]
    fn all_that_does_not_hold_is_said() {
        let mut report = report();
        report.findings.missing = (0..9).map(|key| format!("k{key}")).collect();
        report.findings.wrong = vec!["w".to_string()];
        report.ledger.entries[0].fate = Fate::Unknown;
        let digest = |digest: &str| StateDigest { index: 9, digest: digest.to_string() };
        report.state = SameState::Differ(vec![digest("aa"), digest("bb")]);
        assert_eq!(
            report.verdict().unwrap_err(),
            "did not hold: acknowledged and not there: 9 (k0, k1, k2, k3, k4, ...); \
             wrong value or version: 1 (w); 1 writes never came to an end; \
             state digests differ at index 9: aa, bb"
        );
        report.state = SameState::NeverAtOneIndex;
        assert!(report.verdict().unwrap_err().ends_with("state digests never at one index"));
    }

    #[test]
    fn the_standstill_is_the_longest_gap_around_the_loss() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        // Not in order; a longer gap before the loss, and one after the recovery.
        let moments = [at(1000), at(0), at(500), at(510), at(800), at(810), at(2000), at(2900)];
        let gap = |from, to| longest_gap(&moments, at(from), at(to));
        assert_eq!(gap(520, 805), Some(Duration::from_millis(290)));
        assert_eq!(gap(3000, 3000), None);
        assert_eq!(longest_gap(&[], start, start), None);
    }
}
