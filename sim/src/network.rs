//! The simulated network: packets of the shipped wire format, which are lost, delayed, doubled,
//! repeated, damaged, held back.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_raft_core::message::Message;
use actix_raft_core::types::Time;
use actix_raft_net::codec::{decode_messages, encode_messages};
use actix_raft_net::frame::{FrameCodec, FrameType};
use bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::dice::Dice;
use crate::plan::Weather;

/// The most bytes in a frame.
pub(crate) const FRAME_BYTES: usize = 16 << 20;
/// How many packets are remembered, to be repeated.
const REMEMBERED: usize = 64;

/// Frames from one server to another.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) sent: Time,
    pub(crate) bytes: Bytes,
    /// What its bytes say.
    pub(crate) messages: Arc<[Message]>,
    /// Whether this is not the first copy of it.
    pub(crate) again: bool,
    pub(crate) damaged: bool,
}

/// The links between servers.
pub(crate) struct Network {
    links: Vec<Vec<Link>>,
    /// How much longer packets of a server take.
    slower: Vec<Duration>,
    remembered: VecDeque<Packet>,
    /// How much is put into a frame if it can be parted.
    frame_bytes: usize,
    dice: Dice,
    /// Packets wait here until they are let go by hand.
    pub(crate) held: Option<Vec<Packet>>,
}

#[derive(Clone, Default)]
struct Link {
    /// How many faults cut it, and clog it, now.
    cuts: u32,
    clogs: u32,
    clogged: Vec<Packet>,
    last_arrival: Time,
}

/// What becomes of packets.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) arrivals: Vec<(Time, Packet)>,
    pub(crate) lost: bool,
}

impl Network {
    pub(crate) fn new(nodes: usize, frame_bytes: usize, dice: Dice) -> Network {
        Network {
            links: vec![vec![Link::default(); nodes]; nodes],
            slower: vec![Duration::ZERO; nodes],
            remembered: VecDeque::new(),
            frame_bytes,
            dice,
            held: None,
        }
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.links[from][to].cuts > 0
    }

    pub(crate) fn cut(&mut self, links: &[(usize, usize)]) {
        links.iter().for_each(|(from, to)| self.links[*from][*to].cuts += 1);
    }

    pub(crate) fn mend(&mut self, links: &[(usize, usize)]) {
        for (from, to) in links {
            let link = &mut self.links[*from][*to];
            link.cuts = link.cuts.saturating_sub(1);
        }
    }

    pub(crate) fn mend_all(&mut self) {
        for link in self.links.iter_mut().flatten() {
            link.cuts = 0;
            // What comes from now on waits for no straggler of before.
            link.last_arrival = Time::default();
        }
        self.slower.fill(Duration::ZERO);
    }

    pub(crate) fn clog(&mut self, links: &[(usize, usize)]) {
        links.iter().for_each(|(from, to)| self.links[*from][*to].clogs += 1);
    }

    /// Ends a clog: what was held back comes.
    pub(crate) fn unclog(&mut self, links: &[(usize, usize)]) -> Vec<Packet> {
        let mut freed = Vec::new();
        for (from, to) in links {
            let link = &mut self.links[*from][*to];
            link.clogs = link.clogs.saturating_sub(1);
            if link.clogs == 0 {
                freed.append(&mut link.clogged);
            }
        }
        freed
    }

    pub(crate) fn slow_down(&mut self, at: usize, by: Duration) {
        self.slower[at] += by;
    }

    pub(crate) fn speed_up(&mut self, at: usize, by: Duration) {
        self.slower[at] = self.slower[at].saturating_sub(by);
    }

    /// Sends messages of one server to another.
    pub(crate) fn send(
        &mut self,
        now: Time,
        (from, to): (usize, usize),
        messages: &[Message],
        weather: &Weather,
    ) -> Sent {
        let bytes = self.pack(messages);
        let said = Arc::from(messages);
        let packet =
            Packet { from, to, sent: now, bytes, messages: said, again: false, damaged: false };
        if let Some(held) = &mut self.held {
            if self.links[from][to].cuts == 0 {
                held.push(packet);
            }
            return Sent::default();
        }
        let mut sent = Sent::default();
        let dice = &mut self.dice;
        if self.links[from][to].cuts > 0 || dice.happens(weather.loss) {
            sent.lost = true;
            return sent;
        }
        if self.links[from][to].clogs > 0 {
            self.links[from][to].clogged.push(packet);
            return sent;
        }
        let mut packets = vec![packet.clone()];
        if dice.happens(weather.duplicate) {
            packets.push(Packet { again: true, ..packet.clone() });
        }
        if dice.happens(weather.replay) && !self.remembered.is_empty() {
            let old = self.remembered[dice.place(self.remembered.len())].clone();
            packets.push(Packet { again: true, ..old });
        }
        if dice.happens(weather.corrupt) {
            let mut bytes = packets[0].bytes.to_vec();
            let place = dice.place(bytes.len());
            bytes[place] ^= 1 << dice.below(8);
            packets[0] = Packet { bytes: bytes.into(), damaged: true, ..packet.clone() };
        }
        if weather.replay.0 > 0 {
            if self.remembered.len() == REMEMBERED {
                let place = self.dice.place(REMEMBERED);
                self.remembered.remove(place);
            }
            self.remembered.push_back(packet);
        }
        for packet in packets {
            sent.arrivals.push((self.arrival(now, &packet, weather), packet));
        }
        sent
    }

    /// Several frames if one can't hold all; large ones if a small one can't hold a message.
    fn pack(&self, messages: &[Message]) -> Bytes {
        let mut buffer = BytesMut::new();
        let mut left_out = encode_messages(messages, self.frame_bytes, &mut buffer);
        if !left_out.is_empty() {
            buffer.clear();
            left_out = encode_messages(messages, FRAME_BYTES, &mut buffer);
        }
        debug_assert!(left_out.is_empty(), "{left_out:?}");
        buffer.freeze()
    }

    pub(crate) fn arrival(&mut self, now: Time, packet: &Packet, weather: &Weather) -> Time {
        let Packet { from, to, again, .. } = *packet;
        let (least, most) = weather.delay;
        let mut delay = self.dice.duration(least, most) + self.slower[from] + self.slower[to];
        if self.dice.happens(weather.straggle.0) {
            delay += self.dice.duration(Duration::ZERO, weather.straggle.1);
        }
        let link = &mut self.links[from][to];
        let mut arrival = now + delay;
        if weather.ordered && !again {
            arrival = arrival.max(link.last_arrival + Duration::from_nanos(1));
            link.last_arrival = arrival;
        }
        arrival
    }
}

/// The messages in a packet, up to where it is damaged, and whether it is.
pub(crate) fn unpack(bytes: &Bytes) -> (Vec<Message>, bool) {
    let mut codec = FrameCodec::new(FRAME_BYTES);
    let mut buffer = BytesMut::from(bytes.as_ref());
    let mut messages = Vec::new();
    while !buffer.is_empty() {
        let frame = match codec.decode(&mut buffer) {
            Ok(Some(frame)) if frame.frame_type == FrameType::Messages => frame,
            Ok(_) | Err(_) => return (messages, true),
        };
        match decode_messages(frame.body, FRAME_BYTES) {
            Ok(mut decoded) => messages.append(&mut decoded),
            Err(_) => return (messages, true),
        }
    }
    (messages, false)
}
