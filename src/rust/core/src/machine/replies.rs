//! The outcomes of requests: which topic processes each response, and what follows each refusal and failure.
//! `request_table` decides what a response means for a request.

use super::{
    Machine, Millis, Work, backup_restore, backup_upload, backup_version, device_lists,
    failures::{self, Trouble, note_failure},
    gaps, heartbeats, key_backup, key_bundles, key_upload, olm_sessions, outcomes,
    request_table::Meaning,
    rooms, send_to_devices, send_to_room, tracking, uploads, verification,
};
use crate::{
    error::{Kind, Result},
    judgement::error_response::ErrorResponse,
    store::{
        Record,
        records::{Ask, Request},
    },
};

/// The outcome of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The server responded.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The server responded with what is no text.
    File {
        /// The HTTP status.
        status: u16,
        /// The body.
        bytes: Vec<u8>,
    },
    /// It was performed, and no response came: the server may have acted or not.
    NoAnswer,
    /// It was not performed.
    NotTried,
}

impl Machine {
    /// Processes the outcomes of requests, and returns the failures. An outcome that was reported before, or
    /// whose request was made again since, is ignored.
    ///
    /// # Errors
    /// Those of the store.
    pub fn replies(&mut self, now: Millis, replies: Vec<(i64, Reply)>) -> Result<Vec<Trouble>> {
        self.eventual_work(now, |work| {
            let mut troubles = Vec::new();
            for (number, reply) in replies {
                let Some(request) = work.tx.get::<Request>(&[number.into()])? else { continue };
                work.tx.delete::<Request>(&request.key())?;
                troubles.extend(take_reply(work, &request, reply)?);
            }
            Ok(troubles)
        })
    }
}

/// Processes a reply. Returns the failure if the request is to be made again.
fn take_reply(work: &mut Work<'_>, request: &Request, reply: Reply) -> Result<Option<Trouble>> {
    let ask = &request.ask;
    let (status, body) = match reply {
        Reply::Answer { status, body } => (status, body.into_bytes()),
        Reply::File { status, bytes } => (status, bytes),
        Reply::NoAnswer => (0, Vec::new()),
        Reply::NotTried => {
            if let Ask::Send { number, .. } = ask {
                outcomes::not_attempted(work, *number)?;
            }
            return Ok(None);
        }
    };
    let trouble = take_response(work, request, status, &body)?;
    match &trouble {
        Some(trouble) => failed(work, ask, trouble)?,
        None => failures::request_done(work, ask)?,
    }
    Ok(trouble)
}

fn take_response(
    work: &mut Work<'_>,
    request: &Request,
    status: u16,
    body: &[u8],
) -> Result<Option<Trouble>> {
    let ask = &request.ask;
    // What is not UTF-8 is not JSON either, and is refused as such.
    let text = str::from_utf8(body).unwrap_or_default();
    let response = ErrorResponse::read(status, text);
    let trouble = Trouble::of(request, &response);
    let taken = match ask.meaning(&response) {
        // What the server says of the backup is never more than a part of something else.
        _ if *ask == Ask::BackupVersion => {
            backup_version::backup_version_received(work, request.number, status, text)?;
            return Ok(key_backup::key_backup(work)?.failure.map(|_| trouble));
        }
        Meaning::Success => succeeded(work, ask, text, body),
        Meaning::Absent => absent(work, ask),
        Meaning::TooLarge if smaller(work, ask)? => Ok(()),
        // One device may be the reason.
        Meaning::Refused if status == 400 && smaller(work, ask)? => Ok(()),
        Meaning::Refused if status == 400 && send_to_devices::is_room_key(work, ask)? => {
            return Ok(Some(trouble));
        }
        Meaning::TooLarge if !response.is_final() => return Ok(Some(trouble)),
        Meaning::Refused | Meaning::TooLarge => {
            let taken = refused(work, ask, &trouble);
            // Nothing else reports failures of these.
            if taken.is_ok() && matches!(ask, Ask::BackUp { .. } | Ask::Signature { .. }) {
                return Ok(Some(trouble));
            }
            taken
        }
        Meaning::Failed => return Ok(Some(trouble)),
    };
    match taken {
        Ok(()) => Ok(None),
        Err(error) if error.kind == Kind::Answer => Ok(Some(Trouble {
            code: "MXCRYPT_BAD_ANSWER".into(),
            message: error.message,
            ..trouble
        })),
        Err(error) => Err(error),
    }
}

/// Which topic processes a response: `text`, or `bytes` where it may be no text.
fn succeeded(work: &mut Work<'_>, ask: &Ask, text: &str, bytes: &[u8]) -> Result<()> {
    match ask {
        Ask::KeysUpload => key_upload::key_upload_accepted(work, text),
        Ask::KeysQuery { users, .. } => device_lists::keys_query_answered(work, users, text),
        Ask::KeysClaim { devices, .. } => olm_sessions::keys_claim_answered(work, devices, text),
        Ask::Encryption { room_id, up_to } => {
            send_to_room::encryption_answered(work, room_id, *up_to, Some(text))
        }
        Ask::HistoryVisibility { room_id, generation } => {
            rooms::history_visibility_answered(work, room_id, *generation, Some(text))
        }
        Ask::Members { room_id, generation } => {
            rooms::members_answered(work, room_id, *generation, text)
        }
        Ask::Signature { number } => verification::signature_uploaded(work, *number, text),
        Ask::Gap { room_id, number, from, .. } => {
            gaps::gap_answered(work, room_id, *number, from, text)
        }
        Ask::BackUp { version, up_to } => backup_upload::backed_up(work, version, *up_to, text),
        Ask::BackedUpKey { room_id, session_id, .. } => {
            backup_restore::backup_searched(work, room_id, session_id, Some(text))
        }
        Ask::KeyBundle { room_id, sender, number, .. } => {
            key_bundles::key_bundle_answered(work, room_id, sender, *number, bytes.to_vec())
        }
        Ask::Upload { number, file, .. } => uploads::uploaded(work, *number, file, text),
        Ask::Send { number, .. } => outcomes::send_accepted(work, *number, text),
        Ask::CancelDelayed { number, .. } => heartbeats::cancelled(work, *number, text),
        Ask::ListDelayed { stable } => heartbeats::listed(work, *stable, text),
        Ask::BackupVersion => Ok(()),
    }
}

/// Which topic learns that the requested resource does not exist.
fn absent(work: &mut Work<'_>, ask: &Ask) -> Result<()> {
    match ask {
        Ask::Encryption { room_id, up_to } => {
            send_to_room::encryption_answered(work, room_id, *up_to, None)
        }
        Ask::HistoryVisibility { room_id, generation } => {
            rooms::history_visibility_answered(work, room_id, *generation, None)
        }
        Ask::BackedUpKey { room_id, session_id, .. } => {
            backup_restore::backup_searched(work, room_id, session_id, None)
        }
        Ask::BackUp { .. } => backup_upload::version_is_gone(work),
        Ask::CancelDelayed { number, .. } => heartbeats::gone(work, *number),
        _ => Ok(()),
    }
}

/// Makes smaller requests of one that is too large. False where there are none.
fn smaller(work: &Work<'_>, ask: &Ask) -> Result<bool> {
    match ask {
        Ask::Send { number, .. } => send_to_devices::halve(work, *number),
        _ => Ok(false),
    }
}

/// Which topic learns that a request will never succeed.
fn refused(work: &mut Work<'_>, ask: &Ask, trouble: &Trouble) -> Result<()> {
    let Trouble { code, message, .. } = trouble;
    match ask {
        Ask::KeysUpload => key_upload::key_upload_refused(work, message),
        Ask::Encryption { room_id, .. }
        | Ask::HistoryVisibility { room_id, .. }
        | Ask::Members { room_id, .. } => outcomes::refuse_queued(work, room_id, code, message),
        Ask::Gap { room_id, number, .. } => gaps::give_up_gap(work, room_id, *number, message),
        Ask::Signature { number } => verification::owes_nothing(work, *number).map(drop),
        Ask::BackUp { .. } => backup_upload::back_up_refused(work),
        Ask::KeyBundle { room_id, sender, number, .. } => {
            key_bundles::key_bundle_is_gone(work, room_id, sender, *number)
        }
        Ask::Upload { number, file, .. } => {
            uploads::upload_refused(work, *number, file, code, message)
        }
        Ask::Send { number, .. } => {
            heartbeats::attempt_refused(work, *number)?;
            outcomes::send_refused(work, *number, code, message)
        }
        Ask::KeysQuery { .. }
        | Ask::KeysClaim { .. }
        | Ask::BackupVersion
        | Ask::BackedUpKey { .. }
        | Ask::CancelDelayed { .. }
        | Ask::ListDelayed { .. } => Ok(()),
    }
}

/// Delays a request that failed, and does what follows when it failed too often.
fn failed(work: &mut Work<'_>, ask: &Ask, trouble: &Trouble) -> Result<()> {
    let is_its_fault = failures::is_its_fault(work, &ask.subject(), trouble)?;
    let members = ask.members();
    let failures = note_failure(work, &ask.subject(), members.len(), trouble)?;
    let too_often = is_its_fault && failures >= ask.patience();
    match ask {
        Ask::BackedUpKey { room_id, session_id, .. } => {
            backup_restore::backup_search_failed(work, room_id, session_id)
        }
        Ask::Send { number, .. } if too_often && send_to_devices::divide(work, *number)? => Ok(()),
        Ask::Send { number, .. } => {
            heartbeats::send_failed(work, *number, trouble)?;
            send_to_devices::send_failed(work, *number)
        }
        _ if !too_often => Ok(()),
        Ask::KeysQuery { users, .. } => {
            for ((user_id, _), subject) in users.iter().zip(&members) {
                note_failure(work, subject, 1, trouble)?;
                tracking::user_not_reached(work, user_id)?;
            }
            Ok(())
        }
        Ask::KeysClaim { devices, .. } => {
            for ((user_id, device_id), subject) in devices.iter().zip(&members) {
                note_failure(work, subject, 1, trouble)?;
                olm_sessions::claim_failed(work, user_id, device_id)?;
            }
            Ok(())
        }
        Ask::Gap { room_id, number, .. } => {
            gaps::give_up_gap(work, room_id, *number, &trouble.message)
        }
        Ask::Upload { number, file, .. } => uploads::upload_failed(work, *number, file, trouble),
        _ => Ok(()),
    }
}
