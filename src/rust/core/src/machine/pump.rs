//! Requests out, replies in.
//!
//! [`Machine::requests`] returns the requests to make now, in the order in which they must be sent.
//! The caller performs them, reports with [`Machine::replies`] and calls again, until nothing is
//! left. Each request is leased for a while to the process that got it: another process does not
//! repeat it meanwhile, and would do no harm if it did.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Millis, SECOND, Work,
    failures::{self, Trouble},
    request_table::Body,
    tracking::pause,
};
use crate::{
    error::Result,
    store::{
        Query, Record, Transaction,
        records::{Ask, Failure, KeyUpload, Lane, Request, Upload},
    },
};

/// How long a process has for a request before another may repeat it.
const LEASE: Millis = 10 * SECOND;
/// Once so many requests are given out, the others wait for the next call: replies come when all were
/// performed, and should come before the leases run out.
const AT_A_TIME: usize = 50;

/// Not a kind of request: see [`Awaited::kinds`].
const MESSAGES: &str = "messages";

/// What a caller waits for.
#[derive(Debug, Clone, Default)]
pub struct Awaited {
    /// The messages of this room.
    pub room_id: Option<String>,
    /// The devices of these users.
    pub users: Vec<String>,
    /// All requests of these kinds; `messages` stands for all messages, to rooms and to devices, and
    /// what those of rooms wait for.
    pub kinds: Vec<String>,
    /// What failed after this number has been tried in this call.
    pub since: i64,
}

impl Awaited {
    /// A device whose keys were never published is sent nothing that it could read.
    fn covers(&self, ask: &Ask, is_published: bool) -> bool {
        ask.room().is_some_and(|room_id| self.room_id.as_deref() == Some(room_id))
            || matches!(ask, Ask::KeysQuery { lane: Lane::Caller, .. })
            || self.names(ask)
            || self.kinds.iter().any(|kind| kind == MESSAGES)
                && (ask.room().is_some()
                    || matches!(ask, Ask::Send { .. })
                    || !is_published && *ask == Ask::KeysUpload)
    }

    /// Whether it is of a kind that the caller waits for by name.
    pub(super) fn names(&self, ask: &Ask) -> bool {
        self.kinds.iter().any(|kind| kind == ask.kind())
    }
}

/// A request to perform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireRequest {
    /// The number to reply under.
    pub number: i64,
    /// Its kind, for messages to people.
    pub kind: &'static str,
    /// The HTTP method.
    pub method: &'static str,
    /// The path, percent-encoded, with its query.
    pub path: String,
    /// The body, as JSON text.
    pub body: Option<String>,
    /// In place of it, this file.
    pub file: Option<Upload>,
    /// If it fails, those after it in the same lane must not be performed: events of a room go out in
    /// order.
    pub lane: Option<String>,
}

/// What to do now.
#[derive(Debug, Default)]
pub struct Requests {
    /// To perform, in this order.
    pub requests: Vec<WireRequest>,
    /// Something old is to be sent again, and whether it was sent must first be seen in a sync.
    pub sync_first: bool,
    /// The rooms whose messages wait because a request failed, and which.
    pub held_up: BTreeMap<String, Trouble>,
    /// Another process is at work.
    pub busy: bool,
    /// It makes a request that the caller waits for; that for messages of rooms is not counted.
    pub under_way: bool,
}

/// The work of one call of [`Machine::requests`].
pub(super) struct Pump<'a, 'b> {
    pub(super) work: &'a mut Work<'b>,
    pub(super) awaited: &'a Awaited,
    /// The keys of this device are on the server.
    pub(super) is_published: bool,
    /// What is with the server now.
    pub(super) busy: Vec<Ask>,
    /// Users whose devices must be known before a room's messages go out.
    pub(super) unknown: BTreeMap<String, BTreeSet<String>>,
    /// Users whose devices are requested because somebody waits, and so not with the others.
    pub(super) waiting: BTreeSet<String>,
    pub(super) out: Requests,
}

impl<'a, 'b> Pump<'a, 'b> {
    pub(super) fn new(work: &'a mut Work<'b>, awaited: &'a Awaited) -> Result<Self> {
        let mut busy = Vec::new();
        for request in work.tx.select::<Request>(&Query::all())? {
            // A lease that ends later than any could was made before the clock was set back.
            if (work.now + 1..=work.now + LEASE).contains(&request.leased_until) {
                busy.push(request.ask);
            } else if request.ask.latest().is_none_or(|late| request.leased_until + late < work.now)
            {
                work.tx.delete::<Request>(&request.key())?;
            }
        }
        let upload: KeyUpload = work.tx.get_single()?.unwrap_or_default();
        Ok(Self {
            work,
            awaited,
            is_published: upload.published,
            busy,
            unknown: BTreeMap::new(),
            waiting: BTreeSet::new(),
            out: Requests::default(),
        })
    }

    /// Whether a request is with the server that this one must not be made beside.
    pub(super) fn is_busy(&self, ask: &Ask) -> bool {
        self.busy.iter().any(|busy| busy.excludes(ask))
    }

    /// Whether so many requests are given out that others wait for the next call.
    pub(super) fn is_full(&self) -> bool {
        self.out.requests.len() >= AT_A_TIME
    }

    /// Gives out a request, unless it is with the server, or waits after a failure.
    pub(super) fn ask(&mut self, ask: Ask, body: Body) -> Result<()> {
        if self.is_busy(&ask) || !self.may_ask(&ask)? {
            return Ok(());
        }
        let (method, path) = ask.endpoint(&body)?;
        let (body, file) = match body {
            Body::Implied => (ask.implied_body(), None),
            Body::Json(body) | Body::Fixed(_, body) => (Some(body), None),
            Body::File(file) => (None, Some(file)),
        };
        let number = number_request(self.work.tx)?;
        let kind = ask.kind();
        let leased_until = self.work.now + LEASE;
        self.work.tx.put(&Request { number, ask: ask.clone(), leased_until })?;
        let lane = match &ask {
            Ask::Send { lane, .. } => lane.room().map(str::to_owned),
            _ => None,
        };
        self.busy.push(ask);
        self.out.requests.push(WireRequest { number, kind, method, path, body, file, lane });
        Ok(())
    }

    /// Whether a request may be made now, or waits after a failure. What waits for it is noted.
    pub(super) fn may_ask(&mut self, ask: &Ask) -> Result<bool> {
        let Some(failure) = failures::failure(self.work, &ask.subject())? else { return Ok(true) };
        // After the clock was set back nothing waits longer than it would have.
        let wait = failure.retry_at - self.work.now;
        let is_due = wait <= 0 || wait > pause(u32::MAX);
        if is_due
            || failure.number <= self.awaited.since && self.awaited.covers(ask, self.is_published)
        {
            return Ok(true);
        }
        if let Some(room_id) = ask.room() {
            self.hold_up(room_id, &failure);
        }
        Ok(false)
    }

    /// Notes that the messages of a room wait because of a failure.
    pub(super) fn hold_up(&mut self, room_id: &str, failure: &Failure) {
        let trouble = failure.trouble(Some(room_id));
        self.out.held_up.entry(room_id.to_owned()).or_insert(trouble);
    }

    /// How many subjects a request may have, as it failed before with more.
    pub(super) fn largest_batch(&self, ask: &Ask) -> Result<usize> {
        Ok(ask.largest_batch(failures::failure(self.work, &ask.subject())?.as_ref()))
    }
}

/// The number of a request that is about to be made. One that is made later has a higher number.
pub(super) fn number_request(tx: &Transaction<'_>) -> Result<i64> {
    tx.take_number("request")
}

/// Renews the lease of a request that is still being performed.
pub(super) fn renew(work: &Work<'_>, number: i64) -> Result<()> {
    if let Some(request) = work.tx.get::<Request>(&[number.into()])? {
        work.tx.put(&Request { leased_until: work.now + LEASE, ..request })?;
    }
    Ok(())
}
