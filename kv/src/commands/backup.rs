//! `raft-kv backup` and `raft-kv restore`: all keys in a file, and back into a new cluster.
//!
//! The file is a sequence of items, each a length and a protobuf message; the last one says how many
//! there were, so that half a file is not taken for a whole one.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::{ClientArgs, EXIT_CODES, print};
use crate::backup::{Items, copy_checked};
use crate::client::download::download;
use crate::client::errors::WriteError;
use crate::client::{Client, Condition};
use crate::command::Item;

/// How many writes are on their way at once.
const WRITERS: usize = 32;

/// Write all keys, as they are at one moment, to a file
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Example:
  raft-kv backup kv.backup

The state is one that no acknowledged write before the command is missing from. Writes go on meanwhile.

{EXIT_CODES}"))]
pub(crate) struct BackupArgs {
    /// The file; it must not be there yet
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

/// Write all keys of a backup to a new, empty cluster
#[derive(clap::Args, Debug)]
#[command(after_help = format!("Example:
  raft-kv restore kv.backup --endpoints 10.0.1.1:8001

Keys get new versions. If it is interrupted, run it again: what is there already is left as it is, if it
is equal.

{EXIT_CODES}"))]
pub(crate) struct RestoreArgs {
    /// The file that 'raft-kv backup' wrote
    file: PathBuf,
    #[command(flatten)]
    client: ClientArgs,
}

/// `raft-kv backup`.
pub(crate) fn backup(args: &BackupArgs) -> anyhow::Result<()> {
    let name = || format!("can't write {}", args.file.display());
    let partial = partial_name(&args.file);
    if args.file.exists() {
        bail!("{} is there already", args.file.display());
    }
    let mut written = BufWriter::new(File::create(&partial).with_context(name)?);
    let bar = bar("backup", "{msg}: {bytes}, {bytes_per_sec}", None);
    let body = download(&args.client.endpoints, "/v1/backup", args.client.timeout)?;
    let items = copy_checked(&mut BufReader::new(bar.wrap_read(body)), &mut written);
    let synced = items.and_then(|items| {
        written.flush()?;
        written.get_ref().sync_all()?;
        std::fs::rename(&partial, &args.file)?;
        Ok(items)
    });
    bar.finish_and_clear();
    match synced {
        Ok(items) => Ok(print(format!("{items} keys in {}\n", args.file.display()).as_bytes())?),
        Err(error) => {
            // What was got so far is of no use.
            let _ = std::fs::remove_file(&partial);
            Err(error).context("the backup is not whole")
        }
    }
}

fn partial_name(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// `raft-kv restore`.
pub(crate) fn restore(args: &RestoreArgs) -> anyhow::Result<()> {
    let total = checked(&args.file)?;
    let items = Mutex::new(Items::new(open(&args.file)?));
    let bar = bar("restore", "{msg} [{bar:40}] {pos} of {len}", Some(total));
    let (written, failed) = (AtomicU64::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..WRITERS.min(total.max(1) as usize) {
            scope.spawn(|| {
                let mut client = args.client.client();
                while let Some(item) = next(&items, &failed) {
                    match put(&mut client, &item) {
                        Ok(()) => {
                            written.fetch_add(1, Ordering::Relaxed);
                            bar.inc(1);
                        }
                        Err(error) => {
                            lock(&failed).get_or_insert(error);
                        }
                    }
                }
            });
        }
    });
    bar.finish_and_clear();
    match failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
        Some(error) => Err(error).context(format!("{written:?} of {total} keys are restored")),
        None => Ok(print(format!("{total} keys restored\n").as_bytes())?),
    }
}

/// The next item to write; none after a failure.
fn next(
    items: &Mutex<Items<BufReader<File>>>,
    failed: &Mutex<Option<anyhow::Error>>,
) -> Option<Item> {
    if lock(failed).is_some() {
        return None;
    }
    match lock(items).next()? {
        Ok(item) => Some(item),
        Err(error) => {
            lock(failed).get_or_insert(error.into());
            None
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Writes a key that is not there. One that an earlier attempt wrote is there, and equal.
fn put(client: &mut Client, item: &Item) -> anyhow::Result<()> {
    let found = match client.put(&item.key, &item.value, Condition::Absent) {
        Ok(_) => return Ok(()),
        Err(WriteError::PreconditionFailed { .. } | WriteError::OutcomeUnknown { .. }) => {
            client.get(&item.key, crate::client::Consistency::Linearizable)?
        }
        Err(error) => return Err(error.into()),
    };
    if found.value != item.value {
        bail!("the key '{}' is there with another value: restore into an empty cluster", item.key);
    }
    Ok(())
}

/// Reads the whole file once, before anything is written, and returns how many items it has.
fn checked(file: &Path) -> anyhow::Result<u64> {
    copy_checked(&mut open(file)?, &mut io::sink())
        .with_context(|| format!("{} is no whole backup", file.display()))
}

fn open(file: &Path) -> anyhow::Result<BufReader<File>> {
    let opened = File::open(file).with_context(|| format!("can't read {}", file.display()))?;
    Ok(BufReader::new(opened))
}

/// A progress bar; of unknown length without a total.
fn bar(what: &str, template: &str, total: Option<u64>) -> ProgressBar {
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
    // Without a style of ours there is the standard one.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_message(what.to_string());
    bar
}
