//! Our keys on the server: device keys once, one-time keys and a fallback key as they are used up.
//!
//! Keys are saved, with the request that publishes them, before the request leaves. After a crash
//! the same bytes go out again: the server takes them twice, but would refuse other keys under the
//! same names for ever.

use serde::Deserialize;

use super::{HOUR, Machine, Work};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::unique_map::{UniqueMap, read_object},
    primitives::{
        account::{self, SIGNED_CURVE25519},
        canonical_json::{Json, Numbers},
    },
    store::records::KeyUpload,
};

/// How many one-time keys the server should hold, unless a caller says otherwise.
const TARGET: u64 = 50;
/// The most a caller may ask for: an account forgets the oldest beyond 5,000.
const LARGEST_TARGET: u64 = 500;

#[derive(Deserialize)]
struct UploadAnswer {
    #[serde(default)]
    one_time_key_counts: UniqueMap<u64>,
}

impl Machine {
    /// Sets how many unclaimed one-time keys the server should hold. The pool is filled up to it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn set_one_time_key_target(&mut self, target: u64) -> Result<()> {
        self.work(0, |work| {
            let mut upload = work.key_upload()?;
            upload.target = target.min(LARGEST_TARGET);
            work.tx.put_single(&upload)
        })
    }

    /// What of our keys the server has.
    ///
    /// # Errors
    /// Those of the store.
    pub fn key_upload(&mut self) -> Result<KeyUpload> {
        self.work(0, |work| work.key_upload())
    }

    /// Has the device keys published anew. A server that ended a login may have forgotten the
    /// device and its keys; keys that it still has, it takes again.
    ///
    /// # Errors
    /// Those of the store.
    pub fn publish_anew(&mut self) -> Result<()> {
        self.work(0, |work| {
            let mut upload = work.key_upload()?;
            upload.published = false;
            if upload.pending.is_some() {
                // The same keys as before, and the device keys with them.
                upload.pending = Some(work.upload_body(true)?);
            }
            work.tx.put_single(&upload)
        })
    }
}

impl Work<'_> {
    fn key_upload(&self) -> Result<KeyUpload> {
        let fresh = || KeyUpload { target: TARGET, ..KeyUpload::default() };
        Ok(self.tx.get_single()?.unwrap_or_else(fresh))
    }

    /// Takes in what a sync said of our keys.
    pub(super) fn note_key_counts(&mut self, count: u64, unused: Option<bool>) -> Result<()> {
        let mut upload = self.key_upload()?;
        if !upload.published {
            return Ok(());
        }
        upload.one_time_keys = count;
        // A server that never knew fallback keys says nothing, and has none to replace.
        upload.fallback_used = unused == Some(false);
        self.tx.put_single(&upload)
    }

    /// The upload that is due, made and saved if it is not yet. None when nothing is due.
    pub(super) fn due_key_upload(&mut self) -> Result<Option<String>> {
        let mut upload = self.key_upload()?;
        if upload.pending.is_some() {
            return Ok(upload.pending);
        }
        if self.forget_old_fallback_key(&mut upload)? {
            self.tx.put_single(&upload)?;
        }
        let missing = upload.target.saturating_sub(upload.one_time_keys);
        if upload.published && missing == 0 && !upload.fallback_used {
            return Ok(None);
        }
        let with_fallback = !upload.published || upload.fallback_used;
        let account = self.account_mut()?;
        account.generate_one_time_keys(missing as usize);
        if with_fallback {
            account.generate_fallback_key();
        }
        if with_fallback {
            upload.fallback_replaced_at = Some(self.now);
        }
        upload.pending = Some(self.upload_body(!upload.published)?);
        if !upload.published && upload.began_at == 0 {
            upload.began_at = self.now;
        }
        self.tx.put_single(&upload)?;
        Ok(upload.pending)
    }

    /// Messages that used the former fallback key have arrived by now; keeping it longer would let
    /// a thief of the store read what was sent with it.
    fn forget_old_fallback_key(&mut self, upload: &mut KeyUpload) -> Result<bool> {
        let due = upload.fallback_replaced_at.is_some_and(|at| at + HOUR < self.now);
        if due {
            self.account_mut()?.forget_fallback_key();
            upload.fallback_replaced_at = None;
        }
        Ok(due)
    }

    fn upload_body(&mut self, with_device_keys: bool) -> Result<String> {
        let own = self.own.clone();
        let account = self.account()?;
        let mut body = account::unpublished_keys(account, &own.user_id, &own.device_id)?;
        if with_device_keys {
            let keys = Json::parse_object(&own.device_keys)?;
            body.insert("device_keys".into(), Json::Object(keys));
        }
        Json::Object(body).canonical(Numbers::Canonical)
    }

    /// Takes in that the server accepted the upload.
    pub(super) fn key_upload_accepted(&mut self, body: &str) -> Result<()> {
        let answer: UploadAnswer =
            read_object(body).or_fail(Kind::Answer, "The answer to /keys/upload")?;
        let counts = answer.one_time_key_counts.0;
        let mut upload = self.key_upload()?;
        self.account_mut()?.mark_keys_as_published();
        upload.published = true;
        upload.pending = None;
        upload.fallback_used = false;
        upload.one_time_keys = counts.get(SIGNED_CURVE25519).copied().unwrap_or(0);
        self.tx.put_single(&upload)
    }

    /// Takes in that the server will never accept the upload. Nothing more is uploaded then: to
    /// try again, with these keys or others, would be refused for ever.
    pub(super) fn key_upload_refused(&mut self, reason: &str) -> Result<()> {
        let mut upload = self.key_upload()?;
        upload.conflict = Some(format!(
            "The server refuses the keys of this device: {reason} It most likely holds other keys \
             for device {}, because the store was lost, restored from an old copy, or used on two \
             machines. Log in anew, without a device id, and start a new store.",
            self.own.device_id
        ));
        self.tx.put_single(&upload)
    }
}
