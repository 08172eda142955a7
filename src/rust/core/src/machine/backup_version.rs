//! Which version of the key backup the server has.

use super::{
    HOUR, Machine, Millis, Work,
    backup_status::{backup_signatures, is_backup_trusted, is_replaced},
    effects::{self, Effect},
    identity,
    key_backup::key_backup,
    pump::{self, Pump},
    request_table::Body,
};
use crate::{
    error::Result,
    store::{
        Query,
        records::{Ask, BackupFailure, BackupVersion, InboundSession},
    },
};

/// When the server is asked again whether there is a backup, or another one.
pub(super) const LOOK_AGAIN: Millis = HOUR;

impl Machine {
    /// Numbers a `GET /room_keys/version` that the caller is about to make.
    ///
    /// # Errors
    /// Those of the store.
    pub fn number_request(&mut self) -> Result<i64> {
        self.store.eventual_transaction(pump::number_request)
    }

    /// Applies the response to `GET /room_keys/version`, the request of this number. A failure is remembered, and changes
    /// nothing of what is known of the backup.
    ///
    /// # Errors
    /// Those of the store.
    pub fn backup_version_received(
        &mut self,
        now: Millis,
        number: i64,
        status: u16,
        body: &str,
    ) -> Result<()> {
        self.work(now, |work| backup_version_received(work, number, status, body))
    }
}

/// Applies the response to `GET /room_keys/version`, the request of this number; no response has the status zero.
pub(super) fn backup_version_received(
    work: &Work<'_>,
    number: i64,
    status: u16,
    body: &str,
) -> Result<()> {
    let mut backup = key_backup(work)?;
    if number < backup.answered {
        // Another process asked later and was answered first: this response is older than what is known, such as
        // of a version that was made meanwhile.
        return Ok(());
    }
    backup.answered = number;
    work.tx.put_single(&backup)?;
    match BackupVersion::read_response(status, body) {
        Ok(version) => backup_version_is(work, version),
        Err((code, message)) => backup_version_failed(work, status, code, message),
    }
}

fn backup_version_failed(
    work: &Work<'_>,
    status: u16,
    code: String,
    message: String,
) -> Result<()> {
    let mut backup = key_backup(work)?;
    backup.failure = Some(BackupFailure { status, code, message });
    // Keys go on to the version that is known.
    backup.look = false;
    work.tx.put_single(&backup)
}

fn backup_version_is(work: &Work<'_>, shown: Option<BackupVersion>) -> Result<()> {
    let mut backup = key_backup(work)?;
    let place = |version: &BackupVersion| {
        (version.version.clone(), version.public_key().ok().map(|key| key.to_base64()))
    };
    let is_another = shown.as_ref().map(place) != backup.version.as_ref().map(place);
    if is_another {
        (backup.done, backup.rest_until, backup.misfit) = (0, 0, None);
        // From here on sessions without a number are those that come from this version.
        let unnumbered = Query::equal("changed", 0);
        backup.unnumbered_done = work.tx.count::<InboundSession>(&unnumbered)? == 0;
    }
    if let Some(version) = &shown {
        if let Some(key) = backup.offered.take().filter(|key| version.is_of(key)) {
            backup.adopt(key);
        }
        // An older version is the current one again. What goes there is read by anyone who has its key, so a
        // trusted signature must say that this is meant.
        let others = backup.others.iter().find(|key| version.is_of(key)).cloned();
        if let Some(key) = others
            && !is_replaced(&backup, version)
            && backup_signatures(work, version)?.iter().any(|signature| signature.trusted)
        {
            backup.adopt(key);
        }
        match backup.new.take() {
            Some(new) if version.is_of(&new.key) => {
                if new.replaces
                    && let Some(before) = &backup.private
                {
                    backup.replaced.push(before.public().to_base64());
                }
                backup.adopt(new.key);
                backup.enabled = Some(true);
            }
            // Another device of ours was faster.
            Some(new) if !new.replaces => {}
            new => backup.new = new,
        }
    }
    backup.version = shown;
    backup.failure = None;
    (backup.looked_at, backup.look) = (work.now.max(1), false);
    let opens = backup.open().is_some();
    work.tx.put_single(&backup)?;
    if is_another && opens {
        effects::push(work, Effect::BackupKeyArrived);
    }
    Ok(())
}

/// Requests the version that the server has, also again where keys cannot go to the one that it
/// returned. A device that was verified asks its verifier for the key of the backup, and so has to
/// know that there is one.
pub(super) fn look_at_backup(pump: &mut Pump<'_, '_>) -> Result<()> {
    let backup = key_backup(pump.work)?;
    let is_due = match backup.looked_at {
        _ if backup.look || backup.failure.is_some() => true,
        0 => identity::signing_identity(pump.work)?.is_some(),
        looked_at => {
            looked_at + LOOK_AGAIN < pump.work.now
                && backup.enabled == Some(true)
                && !is_backup_trusted(pump.work, &backup)?
        }
    };
    if is_due { pump.ask(Ask::BackupVersion, Body::Implied) } else { Ok(()) }
}
