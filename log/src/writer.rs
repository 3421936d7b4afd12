//! The log's thread: saves that arrive while one is written go into the next write together.
//!
//! ```text
//!   save, save --> [queue] --> raft-log thread: all that wait --> Wal::save --> done, done
//!                                    |
//!                                    +-- a helper makes the next segment ahead of time
//! ```

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use actix_raft_core::entry::Entry;
use actix_raft_core::stored::{Base, Save, StoredState};
use tracing::{error, warn};

use crate::disk::Disk;
use crate::error::{OpenError, WriteError};
use crate::read::LogReader;
use crate::wal::{LogOptions, Prepared, Wal, prepare};

/// How many requests may wait for the thread.
const QUEUE: usize = 4096;
/// How many bytes of entries go into one write, at the most by one save more.
const BATCH_BYTES: usize = 4 << 20;

/// Called on the log's thread when a write is durable, or has failed. It must not block.
pub type Done = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

/// A log that is written by a thread of its own. Dropped, it writes what is queued and ends.
pub struct Log {
    requests: SyncSender<Request>,
    reader: LogReader,
    thread: Option<JoinHandle<()>>,
}

enum Request {
    Save(Save, Done),
    Purge(Base, Done),
    Prepared(io::Result<Prepared>),
    Close,
}

impl Log {
    /// Opens the log on a disk, or makes a new one; says what it holds.
    ///
    /// # Errors
    /// If the log is damaged, is another server's, the disk refuses, or there can be no thread.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Log, StoredState), OpenError> {
        let (wal, state) = Wal::open(Arc::clone(&disk), options.clone())?;
        let reader = wal.reader();
        let (requests, received) = sync_channel(QUEUE);
        let writer = Writer { wal, disk, options, requests: requests.clone(), preparing: None };
        let thread = thread::Builder::new()
            .name("raft-log".to_string())
            .spawn(move || writer.run(&received))
            .map_err(|source| OpenError::Io {
                operation: "start the thread of",
                file: "the log".to_string(),
                source,
            })?;
        Ok((Log { requests, reader, thread: Some(thread) }, state))
    }

    /// Stores a save; `done` is called when it is durable, after those of all earlier saves. Blocks
    /// while 4,096 requests wait.
    pub fn save(&self, save: Save, done: impl FnOnce(Result<(), WriteError>) + Send + 'static) {
        self.request(Request::Save(save, Box::new(done)));
    }

    /// Makes the log begin after this position; `done` is called when that is durable.
    pub fn purge(&self, base: Base, done: impl FnOnce(Result<(), WriteError>) + Send + 'static) {
        self.request(Request::Purge(base, Box::new(done)));
    }

    /// A reader of what is durable.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    fn request(&self, request: Request) {
        if let Err(SendError(Request::Save(_, done) | Request::Purge(_, done))) =
            self.requests.send(request)
        {
            done(Err(WriteError::Closed));
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.request(Request::Close);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the log's thread ended by a panic");
        }
    }
}

struct Writer {
    wal: Wal,
    disk: Arc<dyn Disk>,
    options: LogOptions,
    /// For the helper that makes the next segment.
    requests: SyncSender<Request>,
    preparing: Option<JoinHandle<()>>,
}

/// Whether the thread goes on.
#[derive(PartialEq)]
enum Next {
    GoOn,
    End,
}

impl Writer {
    fn run(mut self, received: &Receiver<Request>) {
        let mut batch = Batch::default();
        while let Ok(first) = received.recv() {
            let mut next = self.take_in(first, &mut batch);
            while next == Next::GoOn && batch.bytes < BATCH_BYTES {
                match received.try_recv() {
                    Ok(request) => next = self.take_in(request, &mut batch),
                    Err(_) => break,
                }
            }
            self.write(&mut batch);
            if next == Next::End {
                break;
            }
            self.prepare_segment();
        }
        if let Some(helper) = self.preparing.take() {
            // It only makes a file that the next start removes.
            let _ = helper.join();
        }
        if let Err(error) = self.wal.close() {
            error!("closing the log: {error}");
        }
    }

    fn take_in(&mut self, request: Request, batch: &mut Batch) -> Next {
        match request {
            Request::Save(save, done) => batch.push(save, done),
            Request::Purge(base, done) => {
                self.write(batch);
                done(self.wal.purge(base));
            }
            Request::Prepared(prepared) => {
                self.preparing = None;
                match prepared {
                    Ok(prepared) => self.wal.offer(prepared),
                    // It is tried again when it is needed, and then the error counts.
                    Err(error) => warn!("the next segment can't be made yet: {error}"),
                }
            }
            Request::Close => return Next::End,
        }
        Next::GoOn
    }

    fn write(&mut self, batch: &mut Batch) {
        let Batch { saves, done, .. } = std::mem::take(batch);
        if saves.is_empty() {
            return;
        }
        let result = self.wal.save(&saves);
        done.into_iter().for_each(|done| done(result.clone()));
        if result.is_ok() {
            // After the answers, so that it delays nobody; an error poisons the next save.
            let _ = self.wal.mark();
        }
    }

    /// Has the next segment made while this one still has room.
    fn prepare_segment(&mut self) {
        let Some((number, length)) = self.wal.wanted_segment() else { return };
        if self.preparing.is_some() {
            return;
        }
        let (disk, options) = (Arc::clone(&self.disk), self.options.clone());
        let requests = self.requests.clone();
        let helper = thread::Builder::new().name("raft-log-helper".to_string()).spawn(move || {
            let prepared = prepare(&*disk, &options.identity, number, length);
            // The log may have been closed meanwhile.
            let _ = requests.try_send(Request::Prepared(prepared));
        });
        // Without a helper the segment is made when it is needed.
        self.preparing = helper.ok();
    }
}

#[derive(Default)]
struct Batch {
    saves: Vec<Save>,
    done: Vec<Done>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, save: Save, done: Done) {
        let entries = save.entries.iter().flat_map(|run| run.iter());
        self.bytes += entries.map(Entry::weight).sum::<usize>();
        self.saves.push(save);
        self.done.push(done);
    }
}
