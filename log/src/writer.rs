//! The log's thread: saves that arrive while one is written go into the next write together.
//!
//! ```text
//!   save, save --> [queue] --> raft-log thread: all that wait --> Wal::save --> done, done
//!                                    |                               nothing waits: mark
//!                                    +-- a helper makes the next segment ahead of time
//! ```

use std::sync::mpsc::{Receiver, RecvError, SyncSender, TryRecvError, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use actix_raft_core::entry::Entry;
use actix_raft_core::stored::{Save, StoredState};
use tracing::{error, warn};

use crate::disk::Disk;
use crate::error::{OpenError, WriteError};
use crate::read::LogReader;
use crate::segment::prepare;
use crate::snapshots::SnapshotStore;
use crate::space::Space;
use crate::wal::{LogOptions, Wal};

/// How many requests may wait for the thread.
const QUEUE: usize = 4096;
/// How many bytes of entries go into one write, at the most by one save more. Entries are read back
/// by whole writes, so that more would make reading a few of them dear.
const BATCH_BYTES: usize = 1 << 20;

/// A log that is written by a thread of its own. Clones are the same log. When the last one is
/// dropped, what is queued is written and the thread ends.
#[derive(Clone)]
pub struct Log {
    // Before the thread: it ends when there is no sender any more.
    requests: SyncSender<Request>,
    reader: LogReader,
    snapshots: SnapshotStore,
    space: Arc<Space>,
    thread: Arc<Thread>,
}

/// The thread, waited for when the last handle is gone.
struct Thread(Mutex<Option<JoinHandle<Result<(), WriteError>>>>);

enum Request {
    Save(Save, Done),
    Close,
}

impl Log {
    /// Opens the log on a disk, or makes a new one; says what it holds.
    ///
    /// # Errors
    /// If the log is damaged, is another server's, the disk refuses, or there can be no thread.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Log, StoredState), OpenError> {
        let (wal, state) = Wal::open(Arc::clone(&disk), options)?;
        let (reader, snapshots, space) = (wal.reader(), wal.snapshots(), wal.space());
        let (requests, received) = sync_channel(QUEUE);
        let writer = Writer { wal, disk };
        let thread = thread::Builder::new()
            .name("raft-log".to_string())
            .spawn(move || writer.run(&received))
            .map_err(|source| OpenError::Io {
                operation: "start the thread of",
                file: "the log".to_string(),
                source,
            })?;
        let thread = Arc::new(Thread(Mutex::new(Some(thread))));
        Ok((Log { requests, reader, snapshots, space, thread }, state))
    }

    /// Stores a save. `done` is called once, on the log's thread: when the save is durable, or is
    /// refused, or the disk failed; in the order of the calls. It must neither block nor save.
    ///
    /// Blocks while 4,096 requests wait.
    pub fn save(&self, save: Save, done: impl FnOnce(Result<(), WriteError>) + Send + 'static) {
        self.request(Request::Save(save, Done::new(done)));
    }

    /// Whether there is so little room on the disk that no more entries should be saved, as it was
    /// when the last segment was made or removed, or [`Log::check_space`] was called. Costs nothing:
    /// ask after each save.
    #[must_use]
    pub fn is_low_on_space(&self) -> bool {
        self.space.is_low()
    }

    /// Asks the disk whether there is so little room: now and then, since others use it too.
    pub fn check_space(&self) -> bool {
        self.space.check()
    }

    /// The snapshots beside the log. They are read and written by whoever calls, not by the log's
    /// thread.
    #[must_use]
    pub fn snapshots(&self) -> SnapshotStore {
        self.snapshots.clone()
    }

    /// A reader of what is durable.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Writes what is queued and ends the thread. Whoever has another handle and saves after this
    /// is told [`WriteError::Closed`].
    ///
    /// # Errors
    /// If the disk fails now, or has failed before.
    pub fn close(self) -> Result<(), WriteError> {
        self.request(Request::Close);
        self.thread.join()
    }

    fn request(&self, request: Request) {
        // If the thread is gone, dropping the request tells whoever waits for it.
        let _ = self.requests.send(request);
    }
}

impl Thread {
    fn join(&self) -> Result<(), WriteError> {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match thread {
            // A completion held the last handle: the thread can't wait for itself.
            Some(thread) if thread.thread().id() == thread::current().id() => Ok(()),
            Some(thread) => thread.join().unwrap_or_else(|_| {
                error!("the log's thread ended by a panic");
                Err(WriteError::Closed)
            }),
            None => Ok(()),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // The thread has told the error already.
        let _ = self.join();
    }
}

/// Whom to tell. Dropped, it tells that the log is closed, so that nobody waits for ever.
struct Done(Option<Completion>);

type Completion = Box<dyn FnOnce(Result<(), WriteError>) + Send>;

impl Done {
    fn new(done: impl FnOnce(Result<(), WriteError>) + Send + 'static) -> Done {
        Done(Some(Box::new(done)))
    }

    fn tell(mut self, result: Result<(), WriteError>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(WriteError::Closed));
        }
    }
}

struct Writer {
    wal: Wal,
    disk: Arc<dyn Disk>,
}

/// Whether the thread goes on.
#[derive(PartialEq)]
enum Next {
    GoOn,
    End,
}

impl Writer {
    fn run(mut self, received: &Receiver<Request>) -> Result<(), WriteError> {
        let mut batch = Batch::default();
        while let Ok(first) = self.wait(received) {
            let mut next = self.take_in(first, &mut batch);
            while next == Next::GoOn && batch.bytes < BATCH_BYTES {
                match received.try_recv() {
                    Ok(request) => next = self.take_in(request, &mut batch),
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
            }
            self.write(&mut batch);
            // One at a time, so that the next save does not wait for all of them.
            self.wal.remove_obsolete();
            if next == Next::End {
                break;
            }
        }
        let closed = self.wal.close();
        if let Err(error) = &closed {
            error!("closing the log: {error}");
        }
        closed
    }

    /// The next request. If there is none yet, does first what is worth doing in the meantime.
    fn wait(&mut self, received: &Receiver<Request>) -> Result<Request, RecvError> {
        self.prepare_segment();
        match received.try_recv() {
            Ok(request) => Ok(request),
            Err(TryRecvError::Empty) => {
                // After all answers, so that it delays nobody; an error poisons the next save.
                let _ = self.wal.mark();
                while self.wal.remove_obsolete() {
                    if let Ok(request) = received.try_recv() {
                        return Ok(request);
                    }
                }
                received.recv()
            }
            Err(TryRecvError::Disconnected) => Err(RecvError),
        }
    }

    fn take_in(&mut self, request: Request, batch: &mut Batch) -> Next {
        match request {
            Request::Save(save, done) => batch.push(save, done),
            Request::Close => return Next::End,
        }
        Next::GoOn
    }

    fn write(&mut self, batch: &mut Batch) {
        let Batch { saves, done, .. } = std::mem::take(batch);
        let result = self.wal.write(&saves);
        if saves.len() > 1 && result.as_ref().is_err_and(WriteError::is_refusal) {
            // One is to blame: the others shall not suffer for it.
            for (save, done) in saves.into_iter().zip(done) {
                done.tell(self.wal.write(&[save]));
            }
        } else {
            done.into_iter().for_each(|done| done.tell(result.clone()));
        }
    }

    /// Has the next segment made while this one still has room.
    fn prepare_segment(&mut self) {
        let Some((number, length)) = self.wal.wanted_segment() else { return };
        let (disk, owner) = (Arc::clone(&self.disk), self.wal.owner());
        let (sender, coming) = channel();
        let make = move || {
            let prepared = prepare(&*disk, &owner, number, length);
            if let Err(error) = &prepared {
                // It is tried again when it is needed, and then the error counts.
                warn!("the next segment can't be made yet: {error}");
            }
            // Before the log hears of it: when it is closed, the disk is free.
            drop(disk);
            let _ = sender.send(prepared);
        };
        // Without a helper the segment is made when it is needed.
        if thread::Builder::new().name("raft-log-helper".to_string()).spawn(make).is_ok() {
            self.wal.expect_segment(coming);
        }
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
