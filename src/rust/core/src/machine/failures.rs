//! Requests that failed: each waits by itself before it is tried again.
//!
//! The pause doubles with each failure, whatever the failure was: no response, an error of the server,
//! one that says nothing of the request, or a response that cannot be read. It is kept in the store. So a
//! request that always fails costs little, and keeps nothing else waiting. What a caller waits for is
//! tried once in each call, however often it failed before.

use super::{
    Work,
    request_table::{of_device, of_user},
    tracking::pause,
};
use crate::{
    error::Result,
    judgement::error_response::ErrorResponse,
    store::{
        Query,
        records::{Ask, Failure, Lane, Request, SyncPosition},
    },
};

/// How many failures are remembered: each has a subject that may never be requested again.
const MOST_KEPT: i64 = 1000;
/// A batch that failed is tried again in so many parts: one of its subjects may be the reason.
const PARTS: usize = 8;

/// A request that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The number of the request; zero where it is reported later.
    pub number: i64,
    /// The kind of the request.
    pub kind: String,
    /// What its failures are counted under.
    pub subject: String,
    /// The room whose messages wait for it, if they do.
    pub room_id: Option<String>,
    /// The HTTP status; zero where no response came.
    pub status: u16,
    /// The error code of the server.
    pub code: String,
    /// The error text.
    pub message: String,
}

impl Trouble {
    /// That `request` failed with `response`.
    pub(super) fn of(request: &Request, response: &ErrorResponse) -> Self {
        Self {
            number: request.number,
            kind: request.ask.kind().to_owned(),
            subject: request.ask.subject(),
            room_id: request.ask.room().map(str::to_owned),
            status: response.status,
            code: response.code.clone(),
            message: response.message.clone(),
        }
    }
}

impl Failure {
    /// The failure, as a caller who waits is told of it.
    pub(super) fn trouble(&self, room_id: Option<&str>) -> Trouble {
        Trouble {
            number: 0,
            kind: self.subject.split(' ').next().unwrap_or_default().to_owned(),
            subject: self.subject.clone(),
            room_id: room_id.map(str::to_owned),
            status: self.status,
            code: self.code.clone(),
            message: self.message.clone(),
        }
    }
}

pub(super) fn failure(work: &Work<'_>, subject: &str) -> Result<Option<Failure>> {
    work.tx.get(&[subject.into()])
}

/// Records that a request succeeded, or will not be made again.
pub(super) fn request_done(work: &Work<'_>, ask: &Ask) -> Result<()> {
    if work.tx.count::<Failure>(&Query::all())? == 0 {
        return Ok(());
    }
    for subject in ask.members().iter().chain([&ask.subject()]) {
        work.tx.delete::<Failure>(&[subject.as_str().into()])?;
    }
    Ok(())
}

/// Whether a failure is about this request, and not about the way to the server: the server responded, or
/// it did to a sync since the request failed before.
pub(super) fn is_its_fault(work: &Work<'_>, subject: &str, trouble: &Trouble) -> Result<bool> {
    if trouble.status > 0 {
        return Ok(true);
    }
    let position = work.tx.get_single::<SyncPosition>()?.unwrap_or_default();
    Ok(failure(work, subject)?.is_some_and(|before| before.failed_at < position.committed_at))
}

/// Delays a request, and returns how often it has failed by now.
pub(super) fn note_failure(
    work: &Work<'_>,
    subject: &str,
    batch: usize,
    trouble: &Trouble,
) -> Result<u32> {
    let counts = is_its_fault(work, subject, trouble)?;
    let known = failure(work, subject)?;
    let (failures, smallest) =
        known.map_or((0, usize::MAX), |failure| (failure.failures, failure.batch));
    let parts = if counts { (batch / PARTS).max(1) } else { usize::MAX };
    let number = work.tx.take_number("failure")?;
    work.tx.put(&Failure {
        subject: subject.to_owned(),
        number,
        failures: failures.saturating_add(1),
        retry_at: work.now + pause(failures),
        failed_at: work.now,
        batch: smallest.min(parts),
        status: trouble.status,
        code: trouble.code.clone(),
        message: trouble.message.clone(),
    })?;
    work.tx.delete_where::<Failure>(&Query::all().until("number", number - MOST_KEPT))?;
    Ok(failures.saturating_add(1))
}

/// Why a message waits, if something that it needs failed.
pub(super) fn why_waiting(work: &Work<'_>, room_id: &str, number: i64) -> Result<Option<Failure>> {
    let lane = Lane::Room(room_id.to_owned());
    let needed = [
        Ask::Upload { number, file: String::new(), room_id: room_id.to_owned() },
        Ask::Send { number, lane: lane.clone() },
        Ask::Encryption { room_id: room_id.to_owned(), up_to: 0 },
        Ask::HistoryVisibility { room_id: room_id.to_owned(), generation: 0 },
        Ask::Members { room_id: room_id.to_owned(), generation: 0 },
        Ask::KeysQuery { users: Vec::new(), lane: lane.clone() },
        Ask::KeysClaim { devices: Vec::new(), lane },
    ];
    for ask in needed {
        if let Some(failure) = failure(work, &ask.subject())? {
            return Ok(Some(failure));
        }
    }
    Ok(None)
}

/// Why these devices were not reached, if requests of ours are the reason: then it is not known
/// whether they can be.
pub(super) fn why_not_asked(
    work: &Work<'_>,
    unreached: &[(String, String)],
) -> Result<Option<Failure>> {
    for (user_id, device_id) in unreached {
        for subject in [of_user(user_id), of_device(user_id, device_id)] {
            if let Some(failure) = failure(work, &subject)? {
                return Ok(Some(failure));
            }
        }
    }
    Ok(None)
}
