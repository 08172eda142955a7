//! What the caller of messages is told at their end, in one call: what became of them, and what it should know
//! of the room and of its own device.

use std::collections::BTreeSet;

use super::{IdentityStatus, Machine, Millis, Outcome, identity, isolation, outcomes::outcome};
use crate::{
    error::Result,
    store::records::{Isolation, OutboxRow, Room},
};

/// What a caller is told at the end.
#[derive(Debug)]
pub struct Settlement {
    /// What became of each message.
    pub outcomes: Vec<Outcome>,
    /// How far our own identity is.
    pub identity: IdentityStatus,
    /// Which devices get the keys of everyday messages.
    pub isolation: Isolation,
    /// The room that replaced this one.
    pub successor: Option<String>,
}

impl Machine {
    /// What became of `numbers`, which were sent to a room. Those that the server has are forgotten; what was
    /// refused is, once the caller has heard of it ([`Machine::forget`]).
    ///
    /// # Errors
    /// [`Kind::Argument`](crate::Kind::Argument) when there is no message of one of the numbers.
    pub fn settle(&mut self, now: Millis, room_id: &str, numbers: &[i64]) -> Result<Settlement> {
        self.eventual_work(now, |work| {
            let mut told = BTreeSet::new();
            let mut outcomes = Vec::with_capacity(numbers.len());
            for number in numbers {
                let outcome = outcome(work, *number, &mut told)?;
                if matches!(outcome, Outcome::Sent { .. }) {
                    work.tx.delete::<OutboxRow>(&[(*number).into()])?;
                }
                outcomes.push(outcome);
            }
            let room: Option<Room> = work.tx.get(&[room_id.into()])?;
            Ok(Settlement {
                outcomes,
                identity: identity::status(work)?,
                isolation: isolation::isolation(work)?,
                successor: room.and_then(|room| room.successor),
            })
        })
    }
}
