//! Our keys on the server: device keys once, one-time keys and a fallback key as they are used up.
//!
//! Keys are saved, with the request that publishes them, before the request leaves. After a crash
//! the same bytes go out again: the server takes them twice, but would refuse other keys under the
//! same names for ever.

use super::{
    HOUR, Machine, Millis, Work, own_account, pump::Pump, request_table::Body, tracking::pause,
};
use crate::{
    error::Result,
    judgement,
    primitives::{
        account,
        canonical_json::{Json, Numbers},
    },
    store::{
        Query, Record,
        records::{Ask, KeyUpload, Request},
    },
};

/// How many one-time keys the server should hold, unless a caller says otherwise.
const TARGET: u64 = 50;
/// The most a caller may ask for: an account forgets the oldest beyond 5,000.
const LARGEST_TARGET: u64 = 500;

impl Machine {
    /// Sets how many unclaimed one-time keys the server should hold. The pool is filled up to it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_one_time_key_target(&mut self, now: Millis, target: u64) -> Result<()> {
        self.work(now, |work| {
            let mut upload = key_upload(work)?;
            upload.target = target.min(LARGEST_TARGET);
            work.tx.put_single(&upload)
        })
    }

    /// Which of our keys the server has.
    ///
    /// # Errors
    /// Those of the store.
    pub fn key_upload(&mut self) -> Result<KeyUpload> {
        self.read(|work| key_upload(work))
    }

    /// Publishes the device keys again. A server that ended a login may have forgotten the device
    /// and its keys; keys that it still has, it takes again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn publish_anew(&mut self, now: Millis) -> Result<()> {
        self.work(now, |work| {
            let mut upload = key_upload(work)?;
            upload.published = false;
            // One that is under way has no device keys: that it arrives publishes none.
            forget_requests(work)?;
            if upload.pending.is_some() {
                // The same keys as before, and the device keys with them.
                upload.pending = Some(upload_body(work, true)?);
            }
            work.tx.put_single(&upload)
        })
    }
}

fn key_upload(work: &Work<'_>) -> Result<KeyUpload> {
    let fresh = || KeyUpload { target: TARGET, ..KeyUpload::default() };
    Ok(work.tx.get_single()?.unwrap_or_else(fresh))
}

/// Another store with this account may have gone on publishing keys, and be asked for them. So keys that only this one
/// has are due, under ids that the other cannot have used, and with them the device keys and a fallback key.
pub(super) fn begin_again(work: &mut Work<'_>) -> Result<()> {
    let account = own_account::account_mut(work)?;
    // Those that were not confirmed may have been uploaded all the same.
    account.mark_keys_as_published();
    *account = account::with_other_key_ids(account)?;
    forget_requests(work)?;
    let KeyUpload { began_at, target, .. } = key_upload(work)?;
    work.tx.put_single(&KeyUpload { began_at, target, ..KeyUpload::default() })
}

/// Forgets the upload that is under way.
fn forget_requests(work: &Work<'_>) -> Result<()> {
    for request in work.tx.select::<Request>(&Query::all())? {
        if request.ask == Ask::KeysUpload {
            work.tx.delete::<Request>(&request.key())?;
        }
    }
    Ok(())
}

/// Applies what a sync reports about our keys.
pub(super) fn note_key_counts(
    work: &mut Work<'_>,
    count: Option<u64>,
    unused: Option<bool>,
) -> Result<()> {
    let mut upload = key_upload(work)?;
    if !upload.published {
        return Ok(());
    }
    upload.one_time_keys = count.unwrap_or(upload.one_time_keys);
    // A server that never knew fallback keys says nothing, and has none to replace.
    upload.fallback_used = unused == Some(false);
    work.tx.put_single(&upload)
}

/// The upload that is due, made and saved if it is not yet. None when nothing is due.
pub(super) fn due_key_upload(work: &mut Work<'_>) -> Result<Option<String>> {
    let mut upload = key_upload(work)?;
    if upload.pending.is_some() {
        return Ok(upload.pending);
    }
    if forget_old_fallback_key(work, &mut upload)? {
        work.tx.put_single(&upload)?;
    }
    let rests = (1..=pause(u32::MAX)).contains(&(upload.rest_until - work.now));
    let missing = if rests { 0 } else { upload.target.saturating_sub(upload.one_time_keys) };
    if upload.published && missing == 0 && !upload.fallback_used {
        return Ok(None);
    }
    let with_fallback = !upload.published || upload.fallback_used;
    let account = own_account::account_mut(work)?;
    account.generate_one_time_keys(missing as usize);
    if with_fallback {
        account.generate_fallback_key();
    }
    if with_fallback {
        upload.fallback_replaced_at = Some(work.now);
    }
    upload.pending = Some(upload_body(work, !upload.published)?);
    if !upload.published && upload.began_at == 0 {
        upload.began_at = work.now;
    }
    work.tx.put_single(&upload)?;
    Ok(upload.pending)
}

/// Messages that used the former fallback key have arrived by now; keeping it longer would let
/// a thief of the store read what was sent with it.
fn forget_old_fallback_key(work: &mut Work<'_>, upload: &mut KeyUpload) -> Result<bool> {
    let due = upload.fallback_replaced_at.is_some_and(|at| at + HOUR < work.now);
    if due {
        own_account::account_mut(work)?.forget_fallback_key();
        upload.fallback_replaced_at = None;
    }
    Ok(due)
}

fn upload_body(work: &mut Work<'_>, with_device_keys: bool) -> Result<String> {
    let own = work.own.clone();
    let account = own_account::account(work)?;
    let mut body = account::unpublished_keys(account, &own.user_id, &own.device_id)?;
    if with_device_keys {
        let keys = Json::parse_object(&own.device_keys)?;
        body.insert("device_keys".into(), Json::Object(keys));
    }
    Json::Object(body).canonical(Numbers::Canonical)
}

/// Records that the server accepted the upload.
pub(super) fn key_upload_accepted(work: &mut Work<'_>, body: &str) -> Result<()> {
    let count = judgement::key_upload::one_time_key_count(body)?;
    let mut upload = key_upload(work)?;
    own_account::account_mut(work)?.mark_keys_as_published();
    upload.published = true;
    upload.pending = None;
    upload.fallback_used = false;
    // A server that counts nothing has taken the keys: how many it holds, the next sync says.
    upload.one_time_keys = count.unwrap_or(upload.target);
    // One that counts fewer than it was given must not be given more for ever.
    upload.short = if upload.one_time_keys < upload.target { upload.short + 1 } else { 0 };
    upload.rest_until = work.now + if upload.short > 0 { pause(upload.short - 1) } else { 0 };
    work.tx.put_single(&upload)
}

/// Records that the server will never accept the upload. Nothing more is uploaded then: to try
/// again, with these keys or others, would be refused for ever.
pub(super) fn key_upload_refused(work: &mut Work<'_>, reason: &str) -> Result<()> {
    let mut upload = key_upload(work)?;
    upload.conflict = Some(format!(
        "The server refuses the keys of this device: {reason} It most likely holds other keys \
         for device {}, because the store was lost, restored from an old copy, or used on two \
         machines. Log in anew, without a device id, and start a new store.",
        work.own.device_id
    ));
    work.tx.put_single(&upload)
}

/// Uploads keys where some are due.
pub(super) fn request(pump: &mut Pump<'_, '_>) -> Result<()> {
    if pump.is_busy(&Ask::KeysUpload) {
        return Ok(());
    }
    match due_key_upload(pump.work)? {
        Some(body) => pump.ask(Ask::KeysUpload, Body::Json(body)),
        None => Ok(()),
    }
}
