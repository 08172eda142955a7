//! Restores keys from the backup: those that an event waits for, one at a time, or all.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups". Anyone with the public
//! key, such as the server, can put keys there. They are judged, and prove nothing.

use std::str;

use super::{
    HOUR, MINUTE, Machine, Millis, SECOND, Work,
    backup_version::LOOK_AGAIN,
    effects::{self, Effect},
    inbound_sessions::{self, Keeping},
    key_backup,
    key_requests::LIFETIME,
    pump::Pump,
    request_table::Body,
    sync_position,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        backup_answer::Part,
        exported_session::{ExportedSession, judge_at},
        identifier::is_segment,
        key_backup::session_data,
        utd_reason::UtdReason,
    },
    primitives::{key_backup::Decryption, parallel},
    store::{
        Query, Record,
        records::{Ask, BackupRequest, BackupVersion, Event, KeyBackup, KeySource, Unreadable},
    },
};

/// Most keys come by themselves, a little later than what they read.
const PATIENCE: Millis = 10 * SECOND;
/// The longest pause before a key that was not there is looked for again.
const LONGEST_PAUSE: Millis = 12 * HOUR;
/// A key of the backup: its session, and why it is refused, if it is.
pub type RestoredKey = (String, Option<String>);

impl Machine {
    /// Imports keys of a room from the backup, and returns what became of each. They belong to an
    /// `older` version, or to the current one.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when the key of the version is not here.
    pub fn restore_keys(
        &mut self,
        now: Millis,
        part: &Part,
        older: Option<&BackupVersion>,
    ) -> Result<Vec<RestoredKey>> {
        self.work(now, |work| {
            let mut backup = key_backup::key_backup(work)?;
            let key = match older {
                Some(version) => backup.key_of(version),
                None => backup.open().map(|(_, key)| key),
            };
            let key = key.cloned().ok_or_else(|| {
                Error::new(Kind::KeyBackup, "The key of the backup is not on this device.")
            })?;
            if older.is_some() {
                // The current version may have none of them.
                backup.unnumbered_done = false;
                work.tx.put_single(&backup)?;
            }
            let key = key.decryption();
            let keys = part.sessions.iter().collect();
            let read = parallel::map(keys, |(session_id, text)| {
                (session_id, read(&key, &part.room_id, session_id, text.get()))
            });
            let mut restored = Vec::with_capacity(read.len());
            for (session_id, session) in read {
                restored.push((session_id.clone(), take_backed_up_key(work, session)?));
            }
            Ok(restored)
        })
    }
}

/// Starts a search in the backup for a key that an event waits for. With `patient` the search
/// begins later: the key may come by itself.
pub(super) fn search_backup(
    work: &mut Work<'_>,
    room_id: &str,
    session_id: &str,
    sender: &str,
    patient: bool,
) -> Result<()> {
    if !is_segment(room_id) || !is_segment(session_id) {
        return Ok(());
    }
    let known: Option<BackupRequest> = work.tx.get(&[room_id.into(), session_id.into()])?;
    if let Some(known) = known {
        if known.patient && !patient {
            work.tx.put(&BackupRequest { patient, retry_at: work.now, ..known })?;
        }
        return Ok(());
    }
    effects::push(work, Effect::StoredFrom { sender: sender.to_owned() });
    work.tx.put(&BackupRequest {
        room_id: room_id.to_owned(),
        session_id: session_id.to_owned(),
        sender: sender.to_owned(),
        patient,
        wanted_at: work.now,
        tries: 0,
        retry_at: if patient { work.now + PATIENCE } else { work.now },
        refused: None,
    })
}

/// Whether the key of an event may still come by itself: the event is younger than that takes, and
/// came after the first sync. What was there before is read from the backup, or never.
pub(super) fn key_may_come(work: &Work<'_>, reason: UtdReason, sent_at: Millis) -> Result<bool> {
    let is_new = sent_at.saturating_add(PATIENCE) > work.now;
    let is_missing = matches!(reason, UtdReason::UnknownSession | UtdReason::UnknownIndex);
    Ok(is_missing && is_new && sync_position::sync_token(work)?.is_some())
}

/// Searches again for all missing keys: the key of the backup is new, or it fits another version
/// now.
pub(super) fn search_backup_anew(work: &Work<'_>) -> Result<()> {
    for request in work.tx.select::<BackupRequest>(&Query::all())? {
        work.tx.put(&BackupRequest { tries: 0, retry_at: 0, ..request })?;
    }
    Ok(())
}

/// Processes the response to the search for a key: what the backup has of it, if anything.
pub(super) fn backup_searched(
    work: &mut Work<'_>,
    room_id: &str,
    session_id: &str,
    body: Option<&str>,
) -> Result<()> {
    let backup = key_backup::key_backup(work)?;
    let mut refused = None;
    if let (Some(body), Some((_, key))) = (body, backup.open()) {
        let session = read(&key.decryption(), room_id, session_id, body);
        refused = take_backed_up_key(work, session)?;
    } else if backup.looked_at + LOOK_AGAIN < work.now {
        // That may be because the whole version is gone.
        work.tx.put_single(&KeyBackup { look: true, ..backup })?;
    }
    let request: Option<BackupRequest> = work.tx.get(&[room_id.into(), session_id.into()])?;
    let Some(mut request) = request else { return Ok(()) };
    request.retry_at = work.now + (MINUTE << request.tries.min(16)).min(LONGEST_PAUSE);
    request.tries += 1;
    request.refused = refused;
    work.tx.put(&request)
}

/// Records that the search for a key failed. It moves behind the others.
pub(super) fn backup_search_failed(work: &Work<'_>, room_id: &str, session_id: &str) -> Result<()> {
    let request: Option<BackupRequest> = work.tx.get(&[room_id.into(), session_id.into()])?;
    let Some(request) = request else { return Ok(()) };
    let retry_at = work.now + MINUTE;
    work.tx.put(&BackupRequest { retry_at, ..request })
}

/// Imports a key of the backup, as it was judged. Returns the reason if it is refused.
fn take_backed_up_key(
    work: &mut Work<'_>,
    session: Result<ExportedSession>,
) -> Result<Option<String>> {
    let session = match session {
        Ok(session) => session,
        Err(error) => return Ok(Some(error.message)),
    };
    Ok(match inbound_sessions::keep_exported(work, session, KeySource::Backup, None)? {
        Keeping::Taken | Keeping::Known => None,
        Keeping::Contradicts => Some("It contradicts the key that is here.".to_owned()),
    })
}

/// Why an event waits for its key, where the state of the backup is part of the reason.
pub(super) fn why_not_in_backup(work: &Work<'_>, event: &Event) -> Result<Option<Unreadable>> {
    let reason = UtdReason::of(event).filter(|reason| reason.waits_for_key());
    let (Some(reason), Some(session_id)) = (reason, &event.session_id) else {
        return Ok(None);
    };
    let backup = key_backup::key_backup(work)?;
    let key = [event.room_id.as_str().into(), session_id.as_str().into()];
    let request: Option<BackupRequest> = work.tx.get(&key)?;
    let is_before = reason == UtdReason::BeforeDevice;
    Ok(match backup.open() {
        Some(_) => request.and_then(|request| match request.refused {
            Some(why) => {
                let sentence = format!("{} {why}", UtdReason::BackupMalformed.sentence());
                Some(UtdReason::BackupMalformed.because(sentence))
            }
            None if request.tries == 0 && !request.patient => {
                Some(UtdReason::BackupPending.unreadable())
            }
            None => None,
        }),
        None if is_before && backup.version.is_some() => Some(UtdReason::BackupLocked.unreadable()),
        None if is_before && backup.looked_at > 0 => Some(UtdReason::NoBackup.unreadable()),
        _ => None,
    })
}

/// Looks for the keys in the backup that are still missing.
pub(super) fn request_keys(pump: &mut Pump<'_, '_>) -> Result<()> {
    let requests = pump.work.tx.select::<BackupRequest>(&Query::all())?;
    let mut backup = key_backup::key_backup(pump.work)?;
    for request in requests {
        let is_askable = is_segment(&request.room_id) && is_segment(&request.session_id);
        if request.wanted_at + LIFETIME < pump.work.now || !is_askable {
            pump.work.tx.delete::<BackupRequest>(&request.key())?;
        } else if (pump.work.now + 1..=pump.work.now + LONGEST_PAUSE).contains(&request.retry_at) {
            continue;
        } else if let Some((version, _)) = backup.open() {
            search_backup_for(pump, &version.version, request)?;
        } else if backup.looked_at == 0 || backup.looked_at + LOOK_AGAIN < pump.work.now {
            backup.look = true;
            pump.work.tx.put_single(&backup)?;
            break;
        }
    }
    Ok(())
}

fn search_backup_for(pump: &mut Pump<'_, '_>, version: &str, request: BackupRequest) -> Result<()> {
    let BackupRequest { room_id, session_id, .. } = request;
    if pump.is_full() {
        return Ok(());
    }
    let version = version.to_owned();
    pump.ask(Ask::BackedUpKey { room_id, session_id, version }, Body::Implied)
}

fn read(key: &Decryption, room_id: &str, session_id: &str, text: &str) -> Result<ExportedSession> {
    let decrypted = key.decrypt(&session_data(text)?)?;
    let text = str::from_utf8(&decrypted).or_fail(Kind::Json, "A key of the backup")?;
    judge_at(text, room_id, session_id)
}
