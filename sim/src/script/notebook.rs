//! The application of scripts: a notebook, into which clients write words.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Read};

use actix_raft::application::{Application, DecodeError, Snapshotting, StateMachine};
use actix_raft::messages::Index;
use bytes::Bytes;

use crate::dice::Dice;
use crate::workload::{Request, Workload};

/// The workload of scripts. Its clients do only what a script says.
#[derive(Debug, Default)]
pub(crate) struct Notebook;

/// Words, in the order in which they were written.
#[derive(Debug, Default)]
pub(crate) struct Page {
    words: Vec<String>,
    fingerprint: u64,
}

/// What a reader sees.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Words(Vec<String>);

/// What a script calls a read.
#[derive(Clone)]
pub(crate) struct Label(pub(crate) String);

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => f.write_str("nothing"),
            false => f.write_str(&self.0.join(" ")),
        }
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Application for Page {
    type Command = String;
    /// How many words there are.
    type Response = usize;
    type Rejection = Infallible;

    fn encode(word: String) -> Bytes {
        word.into()
    }

    fn decode(bytes: Bytes) -> Result<String, DecodeError> {
        Ok(String::from_utf8(bytes.to_vec())?)
    }
}

impl StateMachine for Page {
    fn apply(&mut self, _: Index, word: String) -> usize {
        for byte in word.bytes().chain([0]) {
            self.fingerprint = Dice::new(self.fingerprint ^ u64::from(byte)).number();
        }
        self.words.push(word);
        self.words.len()
    }

    fn snapshot(&self) -> Option<Snapshotting> {
        let words = self.words.join("\n");
        Some(Box::new(move |to| to.write_all(words.as_bytes())))
    }

    fn restore(&mut self, from: &mut dyn Read) -> io::Result<()> {
        let mut words = String::new();
        from.read_to_string(&mut words)?;
        *self = Page::default();
        for word in words.split('\n').filter(|word| !word.is_empty()) {
            self.apply(Index::ZERO, word.to_string());
        }
        Ok(())
    }
}

impl Workload for Notebook {
    type Machine = Page;
    type Query = Label;
    type Answer = Words;

    fn machine(&self) -> Page {
        Page::default()
    }

    fn next(&mut self, _: usize, _: &mut Dice) -> Request<Notebook> {
        Request::Read(Label(String::new()))
    }

    fn read(page: &Page, _: &Label) -> Words {
        Words(page.words.clone())
    }

    fn fingerprint(page: &Page) -> u64 {
        page.fingerprint
    }
}
