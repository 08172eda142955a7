//! Keys come from the backup: those that an event waits for, one at a time, or all.
//!
//! Specification: client-server API, end-to-end encryption, "Server-side key backups". Whoever has the
//! public key, which the server has, can put keys there. They are judged, and prove nothing.

use std::str;

use super::{
    HOUR, MINUTE, Machine, Millis, SECOND, Work,
    inbound_sessions::Keeping,
    key_backup::LOOK_AGAIN,
    key_requests::LIFETIME,
    path::{path, percent_encode},
    pump::{AT_A_TIME, Pump},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        backup_answer::Part,
        exported_session::{ExportedSession, judge_at},
        key_backup::session_data,
        reasons::waits_for_key,
        room_event::unreadable,
    },
    primitives::key_backup::BackupKey,
    store::{
        Query, Record,
        records::{Ask, BackupRequest, Event, KeyBackup, KeySource, Unreadable},
    },
};

/// Most keys come by themselves, a little later than what they read.
const PATIENCE: Millis = 10 * SECOND;
/// How many keys are looked for: a server may invent events.
const MOST: usize = 500;
/// The longest pause before a key that was not there is looked for again.
const LONGEST_PAUSE: Millis = 12 * HOUR;
/// A key of the backup: its session, and why it is refused, if it is.
pub type RestoredKey = (String, Option<String>);

impl Machine {
    /// Takes in keys of a room in the backup, and says what became of each.
    ///
    /// # Errors
    /// [`Kind::KeyBackup`] when the key of the backup is not here.
    pub fn restore_keys(&mut self, now: Millis, part: &Part) -> Result<Vec<RestoredKey>> {
        self.work(now, |work| {
            let backup = work.key_backup()?;
            let (_, key) = backup.open().ok_or_else(|| {
                Error::new(Kind::KeyBackup, "The key of the backup is not on this device.")
            })?;
            let mut restored = Vec::with_capacity(part.sessions.len());
            for (session_id, text) in &part.sessions {
                let room_id = &part.room_id;
                let refused = work.take_backed_up_key(key, room_id, session_id, text.get())?;
                restored.push((session_id.clone(), refused));
            }
            Ok(restored)
        })
    }
}

impl Work<'_> {
    /// Has a key looked for in the backup that an event waits for. With `patient`, not at once: it
    /// may come by itself.
    pub(super) fn search_backup(
        &self,
        room_id: &str,
        session_id: &str,
        patient: bool,
    ) -> Result<()> {
        let known: Option<BackupRequest> = self.tx.get(&[room_id.into(), session_id.into()])?;
        if let Some(known) = known {
            if known.patient && !patient {
                self.tx.put(&BackupRequest { patient, retry_at: self.now, ..known })?;
            }
            return Ok(());
        }
        if self.tx.count::<BackupRequest>(&Query::all())? >= MOST {
            return Ok(());
        }
        self.tx.put(&BackupRequest {
            room_id: room_id.to_owned(),
            session_id: session_id.to_owned(),
            patient,
            wanted_at: self.now,
            tries: 0,
            retry_at: if patient { self.now + PATIENCE } else { self.now },
        })
    }

    /// What was not in the backup may be in this one.
    pub(super) fn search_backup_anew(&self) -> Result<()> {
        for request in self.tx.select::<BackupRequest>(&Query::all())? {
            self.tx.put(&BackupRequest { tries: 0, retry_at: 0, ..request })?;
        }
        Ok(())
    }

    /// Takes in what the backup has of a key that was looked for, if anything.
    pub(super) fn backup_searched(
        &mut self,
        room_id: &str,
        session_id: &str,
        body: Option<&str>,
    ) -> Result<()> {
        let backup = self.key_backup()?;
        if let (Some(body), Some((_, key))) = (body, backup.open()) {
            // What is refused is as good as not there.
            self.take_backed_up_key(key, room_id, session_id, body)?;
        } else if backup.looked_at + LOOK_AGAIN < self.now {
            // That may be because the whole version is gone.
            self.tx.put_single(&KeyBackup { look: true, ..backup })?;
        }
        let request: Option<BackupRequest> = self.tx.get(&[room_id.into(), session_id.into()])?;
        let Some(mut request) = request else { return Ok(()) };
        request.retry_at = self.now + (MINUTE << request.tries.min(16)).min(LONGEST_PAUSE);
        request.tries += 1;
        self.tx.put(&request)
    }

    /// Takes in a key of the backup; says why not, if it is refused.
    fn take_backed_up_key(
        &mut self,
        key: &BackupKey,
        room_id: &str,
        session_id: &str,
        text: &str,
    ) -> Result<Option<String>> {
        let session = match read(key, room_id, session_id, text) {
            Ok(session) => session,
            Err(error) => return Ok(Some(error.message)),
        };
        Ok(match self.keep_exported(session, KeySource::Backup, None)? {
            Keeping::Taken | Keeping::Known => None,
            Keeping::Contradicts => Some("It contradicts the key that is here.".to_owned()),
        })
    }

    /// Why an event that waits for its key waits, where the backup has something to do with it.
    pub(super) fn why_not_in_backup(&self, event: &Event) -> Result<Option<Unreadable>> {
        let (Some(reason), Some(session_id)) = (&event.unreadable, &event.session_id) else {
            return Ok(None);
        };
        if !waits_for_key(&reason.code) {
            return Ok(None);
        }
        let backup = self.key_backup()?;
        let key = [event.room_id.as_str().into(), session_id.as_str().into()];
        let request: Option<BackupRequest> = self.tx.get(&key)?;
        let is_before = reason.code == "before_device";
        Ok(match backup.open() {
            Some(_) if request.is_some_and(|request| request.tries == 0 && !request.patient) => {
                Some(unreadable("backup_pending", "Its key is being looked for in the key backup."))
            }
            None if is_before && backup.version.is_some() => Some(unreadable(
                "backup_locked",
                "It was sent before this device was signed in, and the key of the key backup is \
                 not here.",
            )),
            None if is_before && backup.looked_at > 0 => Some(unreadable(
                "no_backup",
                "It was sent before this device was signed in, and there is no key backup.",
            )),
            _ => None,
        })
    }
}

impl Pump<'_, '_> {
    /// Looks for the keys in the backup that are still missing.
    pub(super) fn search_backup(&mut self) -> Result<()> {
        let requests = self.work.tx.select::<BackupRequest>(&Query::all())?;
        let mut backup = self.work.key_backup()?;
        for request in requests {
            if request.wanted_at + LIFETIME < self.work.now {
                self.work.tx.delete::<BackupRequest>(&request.key())?;
            } else if request.retry_at > self.work.now {
                continue;
            } else if let Some((version, _)) = backup.open() {
                self.search_backup_for(&version.version, request)?;
            } else if backup.looked_at == 0 || backup.looked_at + LOOK_AGAIN < self.work.now {
                backup.look = true;
                self.work.tx.put_single(&backup)?;
                break;
            }
        }
        Ok(())
    }

    fn search_backup_for(&mut self, version: &str, request: BackupRequest) -> Result<()> {
        let BackupRequest { room_id, session_id, .. } = request;
        let mut path = path(&["room_keys", "keys", &room_id, &session_id]);
        path.push_str("?version=");
        percent_encode(version, &mut path);
        let ask = Ask::BackedUpKey { room_id, session_id };
        if self.busy.contains(&ask) || self.out.requests.len() >= AT_A_TIME {
            return Ok(());
        }
        self.ask(ask, "GET", path, None)
    }
}

fn read(key: &BackupKey, room_id: &str, session_id: &str, text: &str) -> Result<ExportedSession> {
    let decrypted = key.decrypt(&session_data(text)?)?;
    let text = str::from_utf8(&decrypted).or_fail(Kind::Json, "A key of the backup")?;
    judge_at(text, room_id, session_id)
}
