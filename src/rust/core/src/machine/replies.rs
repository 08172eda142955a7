//! What came of requests, taken in.

use super::{
    Machine, Millis, Work, backup_restore, backup_upload, device_lists,
    failures::{self, GAP_PATIENCE, PATIENCE, Trouble, note_failure, of_device, of_user},
    gaps, key_backup, key_bundles, key_upload, olm_sessions, outbound_sessions, outcomes, rooms,
    send_to_devices, send_to_room,
    tracking::{self, pause},
    uploads, verification,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::unique_map::{UniqueMap, read_object},
    primitives::canonical_json::Json,
    store::{
        Record,
        records::{Ask, Device, OutboxBody, OutboxRow, OutboxState, Request},
    },
};

/// The error codes after which the same request would be refused again. (Client-server API, "Standard
/// error response", and Synapse's own.)
const FINAL: &[&str] = &[
    "M_FORBIDDEN",
    "M_GUEST_ACCESS_FORBIDDEN",
    "M_NOT_FOUND",
    "M_BAD_JSON",
    "M_NOT_JSON",
    "M_TOO_LARGE",
    "M_BAD_STATE",
    "M_INVALID_PARAM",
    "M_MISSING_PARAM",
    "M_INVALID_SIGNATURE",
    "M_DUPLICATE_ANNOTATION",
    "M_UNSUPPORTED_ROOM_VERSION",
    "M_INCOMPATIBLE_ROOM_VERSION",
    "M_USER_DEACTIVATED",
];
/// Error codes that say nothing of the request itself.
const PASSING: &[&str] =
    &["M_LIMIT_EXCEEDED", "M_CONSENT_NOT_GIVEN", "M_RESOURCE_LIMIT_EXCEEDED", "M_UNRECOGNIZED"];
/// How much of an error text is kept, in characters.
const LONGEST_ERROR: usize = 1000;
/// The HTTP status of a request that is too large.
const TOO_LARGE: u16 = 413;

/// What came of a request.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The server answered.
    Answer {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The server answered with what is no text.
    File {
        /// The HTTP status.
        status: u16,
        /// The body.
        bytes: Vec<u8>,
    },
    /// It was performed, and no answer came: the server may have acted or not.
    NoAnswer,
    /// It was not performed.
    NotTried,
}

impl Machine {
    /// Takes in what came of requests, and says which failed. An answer that was replied to before, or
    /// whose question was asked anew since, is ignored.
    ///
    /// # Errors
    /// Those of the store.
    pub fn replies(&mut self, now: Millis, replies: Vec<(i64, Reply)>) -> Result<Vec<Trouble>> {
        self.work(now, |work| {
            let mut troubles = Vec::new();
            for (number, reply) in replies {
                let Some(request) = work.tx.get::<Request>(&[number.into()])? else { continue };
                work.tx.delete::<Request>(&request.key())?;
                let trouble = take_reply(work, &request, reply)?;
                if let Some(trouble) = &trouble {
                    request_failed(work, &request.ask, trouble)?;
                }
                troubles.extend(trouble);
            }
            Ok(troubles)
        })
    }
}

/// Takes in a reply; says what the trouble is if the request is to be made again.
fn take_reply(work: &mut Work<'_>, request: &Request, reply: Reply) -> Result<Option<Trouble>> {
    let ask = &request.ask;
    let trouble = match (ask, reply) {
        (Ask::Send { number, .. }, Reply::NotTried) => {
            if let Some(row) = waiting_row(work, *number)? {
                outcomes::not_attempted(work, row)?;
            }
            return Ok(None);
        }
        (_, Reply::NotTried) => return Ok(None),
        (Ask::KeyBundle { room_id, sender, number }, Reply::File { status: 200, bytes }) => {
            key_bundles::key_bundle_answered(work, room_id, sender, *number, bytes)?;
            None
        }
        (_, Reply::Answer { status, body }) => take_response(work, request, status, &body)?,
        // What is not UTF-8 is not JSON either, and is refused as such.
        (_, Reply::File { status, .. }) => take_response(work, request, status, "")?,
        (Ask::BackupVersion, Reply::NoAnswer) => take_response(work, request, 0, "")?,
        (_, Reply::NoAnswer) => Some(trouble(request, 0, "")),
    };
    if trouble.is_none() {
        failures::request_done(work, ask)?;
    }
    Ok(trouble)
}

fn take_response(
    work: &mut Work<'_>,
    request: &Request,
    status: u16,
    body: &str,
) -> Result<Option<Trouble>> {
    let trouble = trouble(request, status, body);
    let ask = &request.ask;
    let is_verdict = trouble.is_final();
    let taken = match ask {
        Ask::Send { number, .. }
            if trouble.is_too_large() && send_to_devices::halve(work, *number)? =>
        {
            Ok(())
        }
        Ask::Send { number, .. } if status == 200 || is_verdict => {
            send_answered(work, *number, status, body, &trouble)
        }
        // What the server says of the backup is never more than a part of something else.
        Ask::BackupVersion => {
            key_backup::backup_version_received(work, status, body)?;
            return Ok(key_backup::key_backup(work)?.failure.map(|_| trouble));
        }
        _ if status == 200 => take_answer(work, ask, Some(body)),
        Ask::Encryption { .. } | Ask::HistoryVisibility { .. } | Ask::BackedUpKey { .. }
            if trouble.is_absence() =>
        {
            take_answer(work, ask, None)
        }
        Ask::BackUp { .. } if trouble.is_of_another_backup() => {
            backup_upload::back_up_refused(work, true)
        }
        Ask::BackUp { .. } if is_verdict => {
            backup_upload::back_up_refused(work, false)?;
            return Ok(Some(trouble));
        }
        // Synapse has no error code of its own for keys that contradict those it has.
        Ask::KeysUpload if status == 400 && is_of_homeserver(body, &trouble) => {
            key_upload::key_upload_refused(work, &trouble.message)
        }
        Ask::Gap { room_id, number, .. } if is_verdict => {
            gaps::give_up_gap(work, room_id, *number, &trouble.message)
        }
        Ask::KeyBundle { room_id, sender, number } if is_verdict => {
            key_bundles::key_bundle_is_gone(work, room_id, sender, *number)
        }
        Ask::Encryption { room_id, .. }
        | Ask::HistoryVisibility { room_id }
        | Ask::Members { room_id, .. }
            if is_verdict =>
        {
            outcomes::refuse_queued(work, room_id, &trouble.code, &trouble.message)
        }
        // Also where a proxy says that it is too large: it would say so for ever.
        Ask::Upload { number, file, .. }
            if is_verdict || status == TOO_LARGE || trouble.code == uploads::FILE_GONE =>
        {
            uploads::upload_refused(work, *number, file, &trouble.code, &trouble.message)
        }
        Ask::Signature { number } if is_verdict => {
            verification::owes_nothing(work, *number)?;
            return Ok(Some(trouble));
        }
        _ => return Ok(Some(trouble)),
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

fn take_answer(work: &mut Work<'_>, ask: &Ask, body: Option<&str>) -> Result<()> {
    let text = body.unwrap_or_default();
    match ask {
        Ask::KeysUpload => key_upload::key_upload_accepted(work, text),
        Ask::KeysQuery { users, .. } => device_lists::keys_query_answered(work, users, text),
        Ask::KeysClaim { devices, .. } => olm_sessions::keys_claim_answered(work, devices, text),
        Ask::Encryption { room_id, up_to } => {
            send_to_room::encryption_answered(work, room_id, *up_to, body)
        }
        Ask::HistoryVisibility { room_id } => {
            rooms::history_visibility_answered(work, room_id, body)
        }
        Ask::Members { room_id, generation } => {
            rooms::members_answered(work, room_id, *generation, text)
        }
        Ask::Signature { number } => verification::signature_uploaded(work, *number, text),
        Ask::Gap { room_id, number, from } => {
            gaps::gap_answered(work, room_id, *number, from, text)
        }
        Ask::BackUp { version, up_to } => backup_upload::backed_up(work, version, *up_to, text),
        Ask::BackedUpKey { room_id, session_id } => {
            backup_restore::backup_searched(work, room_id, session_id, body)
        }
        Ask::KeyBundle { room_id, sender, number } => key_bundles::key_bundle_answered(
            work,
            room_id,
            sender,
            *number,
            text.as_bytes().to_vec(),
        ),
        Ask::Upload { number, file, .. } => uploads::uploaded(work, *number, file, text),
        Ask::BackupVersion | Ask::Send { .. } => Ok(()),
    }
}

fn waiting_row(work: &Work<'_>, number: i64) -> Result<Option<OutboxRow>> {
    let row: Option<OutboxRow> = work.tx.get(&[number.into()])?;
    Ok(row.filter(|row| row.state == OutboxState::Fixed))
}

fn send_answered(
    work: &mut Work<'_>,
    number: i64,
    status: u16,
    body: &str,
    trouble: &Trouble,
) -> Result<()> {
    let Some(row) = waiting_row(work, number)? else { return Ok(()) };
    let is_keys = matches!(row.body, OutboxBody::RoomKeys { .. });
    match status {
        // A page of a proxy with status 200 has delivered nothing: a session counts as shared once.
        200 if row.body.to_device().is_some() => {
            acknowledged(body)?;
            work.tx.delete::<OutboxRow>(&row.key())
        }
        // Whether it was told or not, nothing waits for it.
        _ if matches!(row.body, OutboxBody::ToDevice { .. }) => {
            work.tx.delete::<OutboxRow>(&row.key())
        }
        200 => {
            let answer: UniqueMap<Json> =
                read_object(body).or_fail(Kind::Answer, "The answer to an event")?;
            let event_id = answer.0.get("event_id").and_then(Json::as_str);
            let event_id = event_id
                .ok_or_else(|| Error::new(Kind::Answer, "An event was sent and has no id."))?;
            outcomes::sent(work, row, event_id)
        }
        _ if is_keys => {
            // Whoever should have got it did not, so the session must not be used.
            outbound_sessions::end_outbound_session(work, &row.room_id)?;
            outcomes::refuse_queued(work, &row.room_id, &trouble.code, &trouble.message)?;
            work.tx.delete::<OutboxRow>(&row.key())
        }
        _ => outcomes::refuse(work, row, &trouble.code, &trouble.message),
    }
}

/// Checks that a response which says nothing more is one of the homeserver.
fn acknowledged(body: &str) -> Result<()> {
    read_object::<UniqueMap<Json>>(body).or_fail(Kind::Answer, "The response").map(drop)
}

fn member_of(body: &str, name: &str) -> Option<String> {
    let answer: UniqueMap<Json> = read_object(body).unwrap_or_default();
    answer.0.get(name).and_then(Json::as_str).map(str::to_owned)
}

/// The homeserver says what is wrong with a request, and not a proxy before it.
fn is_of_homeserver(body: &str, trouble: &Trouble) -> bool {
    member_of(body, "errcode").is_some() && !PASSING.contains(&trouble.code.as_str())
}

fn trouble(request: &Request, status: u16, body: &str) -> Trouble {
    let text = |name: &str| member_of(body, name);
    let without = match status {
        0 => "The server did not respond.".to_owned(),
        _ => format!("The server responded with status {status}."),
    };
    Trouble {
        number: request.number,
        kind: request.ask.kind().to_owned(),
        subject: request.ask.subject(),
        room_id: request.ask.room().map(str::to_owned),
        status,
        code: text("errcode").unwrap_or_else(|| "M_UNKNOWN".into()),
        message: text("error").map_or(without, |text| text.chars().take(LONGEST_ERROR).collect()),
    }
}

impl Trouble {
    /// The homeserver refused the request, and would refuse it again. Anything else passes: the page of
    /// a proxy, a limit, terms that are to be agreed to, and codes that are not known here.
    fn is_final(&self) -> bool {
        (400..500).contains(&self.status) && FINAL.contains(&self.code.as_str())
    }

    /// The homeserver, or a proxy before it, takes smaller requests only.
    fn is_too_large(&self) -> bool {
        self.status == TOO_LARGE || self.is_final() && self.code == "M_TOO_LARGE"
    }

    fn is_absence(&self) -> bool {
        self.status == 404 && self.code == "M_NOT_FOUND"
    }

    /// The version of the key backup that was written to is not there any more.
    fn is_of_another_backup(&self) -> bool {
        self.code == "M_WRONG_ROOM_KEYS_VERSION" || self.is_absence()
    }
}

/// Takes in that a request failed.
fn request_failed(work: &mut Work<'_>, ask: &Ask, trouble: &Trouble) -> Result<()> {
    let is_its_fault = failures::is_its_fault(work, &ask.subject(), trouble)?;
    let failures = note_failure(work, &ask.subject(), batch_of(ask), trouble)?;
    match ask {
        Ask::KeysQuery { users, .. } => {
            if let [(user_id, _)] = users.as_slice()
                && is_its_fault
                && failures >= PATIENCE
            {
                note_failure(work, &of_user(user_id), 1, trouble)?;
                tracking::user_not_reached(work, user_id)?;
            }
        }
        Ask::KeysClaim { devices, .. } => {
            if let [(user_id, device_id)] = devices.as_slice()
                && is_its_fault
                && failures >= PATIENCE
            {
                note_failure(work, &of_device(user_id, device_id), 1, trouble)?;
                let key = [user_id.as_str().into(), device_id.as_str().into()];
                if let Some(mut device) = work.tx.get::<Device>(&key)? {
                    device.claim_retry_at = work.now + pause(device.claim_failures);
                    device.claim_failures += 1;
                    work.tx.put(&device)?;
                }
            }
        }
        Ask::BackedUpKey { room_id, session_id } => {
            backup_restore::backup_search_failed(work, room_id, session_id)?;
        }
        Ask::Gap { room_id, number, .. } if is_its_fault && failures >= GAP_PATIENCE => {
            gaps::give_up_gap(work, room_id, *number, &trouble.message)?;
        }
        Ask::Upload { number, file, .. } => {
            uploads::upload_failed(work, *number, file, failures, trouble)?;
        }
        Ask::Send { number, .. } => {
            // The devices of a divided request get it twice if the server had delivered it after all.
            let patient = failures < 2 * PATIENCE || !is_its_fault;
            if patient || !send_to_devices::divide(work, *number)? {
                send_to_devices::send_failed(work, *number)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn batch_of(ask: &Ask) -> usize {
    match ask {
        Ask::KeysQuery { users, .. } => users.len(),
        Ask::KeysClaim { devices, .. } => devices.len(),
        _ => 1,
    }
}
