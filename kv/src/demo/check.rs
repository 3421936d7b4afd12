//! Reading everything back: what was acknowledged must be there, and nothing else may be.

use std::thread;

use anyhow::{Context, anyhow};

use crate::client::endpoint::Endpoint;
use crate::client::errors::ReadError;
use crate::client::{Client, Consistency, Found};

use super::limits::Limits;
use super::load::{CLIENTS, Entry, Fate, Ledger, client, key_of, value_of};
use super::progress::Progress;
use super::screen::Screen;

/// How often a read is tried that no server could do, before the demo gives up.
const ATTEMPTS: u32 = 3;

/// Keys that are not as they must be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Told to be written, and not there.
    pub(super) missing: Vec<String>,
    /// There, but not as written.
    pub(super) wrong: Vec<String>,
}

/// Reads all keys, with linearizable reads from all servers.
pub(super) fn check_all(
    endpoints: &[Endpoint],
    ledger: &Ledger,
    limits: &Limits,
    screen: &Screen,
) -> anyhow::Result<Findings> {
    let total = ledger.entries.len() as u64;
    let progress = Progress::new(total, total, screen.bar(total, "read"));
    let progress = &progress;
    thread::scope(|scope| {
        let readers: Vec<_> = (0..CLIENTS)
            .map(|place| {
                let entries = ledger.entries.iter().skip(place).step_by(CLIENTS);
                scope.spawn(move || read_keys(client(place, endpoints), entries, progress, limits))
            })
            .collect();
        let mut findings = Findings::default();
        for reader in readers {
            let found = reader.join().unwrap_or_else(|_| Err(anyhow!("a client panicked")))?;
            findings.missing.extend(found.missing);
            findings.wrong.extend(found.wrong);
        }
        Ok(findings)
    })
}

fn read_keys<'a>(
    mut client: Client,
    entries: impl Iterator<Item = &'a Entry>,
    progress: &Progress,
    limits: &Limits,
) -> anyhow::Result<Findings> {
    let mut findings = Findings::default();
    for entry in entries {
        limits.check()?;
        let key = key_of(entry.number);
        let found = read_key(&mut client, &key).with_context(|| format!("reading {key}"))?;
        match judge(entry, found.as_ref()) {
            Judgement::Holds => {}
            Judgement::Missing => findings.missing.push(key),
            Judgement::Wrong => findings.wrong.push(key),
        }
        progress.settle();
    }
    Ok(findings)
}

fn read_key(client: &mut Client, key: &str) -> Result<Option<Found>, ReadError> {
    let mut attempt = 1;
    loop {
        match client.get(key, Consistency::Linearizable) {
            Ok(found) => return Ok(Some(found)),
            Err(ReadError::NotFound { .. }) => return Ok(None),
            Err(ReadError::Unavailable(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(error),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Judgement {
    Holds,
    Missing,
    Wrong,
}

fn judge(entry: &Entry, found: Option<&Found>) -> Judgement {
    let version = match (entry.fate, found) {
        (Fate::Acknowledged { version } | Fate::ReadBack { version }, Some(_)) => version,
        (Fate::Acknowledged { .. } | Fate::ReadBack { .. }, None) => return Judgement::Missing,
        (Fate::Unknown, _) => None,
    };
    let holds = found.is_none_or(|found| {
        let is_same_version = version.is_none() || version == found.version;
        found.value == value_of(entry.number).as_bytes() && is_same_version
    });
    if holds { Judgement::Holds } else { Judgement::Wrong }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_to_be_written_must_be_there_as_it_was() {
        let version = Some(7);
        let found = |value: &str, version| Found { value: value.into(), version };
        let good = found("the value of key 3", Some(7));
        for fate in [Fate::Acknowledged { version }, Fate::ReadBack { version }] {
            let entry = Entry { number: 3, fate };
            assert_eq!(judge(&entry, Some(&good)), Judgement::Holds);
            assert_eq!(judge(&entry, None), Judgement::Missing);
            let other = found("the value of key 4", Some(7));
            assert_eq!(judge(&entry, Some(&other)), Judgement::Wrong);
            let later = found("the value of key 3", Some(8));
            assert_eq!(judge(&entry, Some(&later)), Judgement::Wrong);
        }
        let entry = Entry { number: 3, fate: Fate::Acknowledged { version: None } };
        assert_eq!(judge(&entry, Some(&good)), Judgement::Holds);
    }

    #[test]
    fn what_is_unknown_may_be_there_or_not_but_not_otherwise() {
        let entry = Entry { number: 3, fate: Fate::Unknown };
        let good = Found { value: b"the value of key 3".into(), version: Some(9) };
        assert_eq!(judge(&entry, Some(&good)), Judgement::Holds);
        assert_eq!(judge(&entry, None), Judgement::Holds);
        let other = Found { value: b"else".into(), version: Some(9) };
        assert_eq!(judge(&entry, Some(&other)), Judgement::Wrong);
    }
}
