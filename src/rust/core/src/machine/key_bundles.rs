//! History that is shared with those who are invited: a bundle of room keys, in an encrypted file.
//!
//! Specification: client-server API, end-to-end encryption, "Sharing keys between users". Room keys that
//! their makers let go to later members are given to devices that their owner has signed, and to no
//! others: a bundle tells what was said in months. One that comes is fetched only after its sender's
//! invitation was accepted, so that nobody can have us fetch what they like.

use std::collections::BTreeMap;

use serde_json::{json, value::to_raw_value};

use super::{
    HOUR, Machine, Millis, Work,
    device_lists::pause,
    path::{MEDIA, path_of},
    pump::Pump,
    room_keys::shares_history,
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{
        encrypted_file::{self, EncryptedFile},
        identifier, key_bundle,
        olm_payload::OlmPayload,
        trust::{self, Trust},
    },
    primitives::{attachment, canonical_json::Json},
    store::{
        Query, Record,
        records::{
            Ask, Device, InboundSession, KeySource, Membership, OwnBundle, ReceivedBundle, Room,
        },
    },
};

/// The types of the event: that of the specification, and the one from before it.
pub(super) const BUNDLE: &str = "m.room_key_bundle";
pub(super) const OLD_BUNDLE: &str = "io.element.msc4268.room_key_bundle";
/// For how long after we came in keys of whoever invited us are taken.
const WELCOME: Millis = 24 * HOUR;
/// Whoever was not told of a bundle by then is not told.
const LIFETIME: Millis = HOUR;
/// How many bundles of others are kept: whoever likes may tell of some.
const MOST_KEPT: i64 = 500;
/// The largest bundle that is taken, in bytes: the keys of some hundred thousand sessions.
const LARGEST: usize = 64 << 20;

impl Machine {
    /// Makes a bundle of the room keys of a room that may be shared. It is to be uploaded; its number
    /// and ciphertext. None where there is no such key, or the room does not let those who come later
    /// read what was before.
    ///
    /// # Errors
    /// Those of the store.
    pub fn make_key_bundle(
        &mut self,
        now: Millis,
        room_id: &str,
    ) -> Result<Option<(i64, Vec<u8>)>> {
        self.work(now, |work| {
            if !shares_history(&work.room(room_id)?) {
                return Ok(None);
            }
            let sessions = work.sessions_of_room(room_id)?;
            if !sessions.iter().any(|session| session.shared_history) {
                return Ok(None);
            }
            let mut bytes = key_bundle::write(&sessions)?;
            let key = attachment::encrypt(&mut bytes)?;
            let number = work.tx.take_number("own bundle")?;
            let (room_id, made_at) = (room_id.to_owned(), work.now);
            let (url, users) = (None, Vec::new());
            work.tx.put(&OwnBundle { number, room_id, key, url, users, made_at })?;
            Ok(Some((number, bytes.to_vec())))
        })
    }

    /// Has the devices of users told of a bundle that was uploaded to `url`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when `url` is no address of a file.
    pub fn share_key_bundle(&mut self, number: i64, url: &str, users: &[String]) -> Result<()> {
        if encrypted_file::address(url).is_none() {
            return Err(Error::new(Kind::Answer, "The server took the file and gave no address."));
        }
        self.work(0, |work| {
            let Some(bundle) = work.tx.get::<OwnBundle>(&[number.into()])? else { return Ok(()) };
            for user_id in users {
                // No room may be shared with them yet, and then no sync tells of their devices.
                work.track(user_id)?;
                work.mark_outdated(user_id)?;
            }
            let (url, users) = (Some(url.to_owned()), users.to_vec());
            work.tx.put(&OwnBundle { url, users, ..bundle })
        })
    }

    /// Whether somebody is still to be told of a bundle.
    ///
    /// # Errors
    /// Those of the store.
    pub fn key_bundle_waits(&mut self, number: i64) -> Result<bool> {
        self.work(0, |work| Ok(work.tx.get::<OwnBundle>(&[number.into()])?.is_some()))
    }
}

impl Work<'_> {
    /// One session each of those of a room: of several by one name, the one that proves more.
    fn sessions_of_room(&self, room_id: &str) -> Result<Vec<InboundSession>> {
        let mut best: BTreeMap<String, InboundSession> = BTreeMap::new();
        for session in self.tx.select::<InboundSession>(&Query::equal("room_id", room_id))? {
            let known = best.get(&session.session_id);
            if known.is_none_or(|known| !known.source.is_authentic()) {
                best.insert(session.session_id.clone(), session);
            }
        }
        Ok(best.into_values().collect())
    }

    /// The devices of a user that a bundle may be given to, or taken from.
    fn signed_devices(&self, user_id: &str) -> Result<Vec<Device>> {
        let owner = self.owner(user_id)?;
        let mut devices = self.devices_of(user_id)?;
        devices.retain(|device| {
            !device.dehydrated && trust::of_device(device, &owner) >= Trust::Signed
        });
        Ok(devices)
    }

    /// Takes in word of a bundle. It is not fetched yet.
    pub(super) fn receive_key_bundle(
        &mut self,
        payload: &OlmPayload,
        sender_key: &str,
    ) -> Result<()> {
        if payload.device_keys.is_none() {
            return Err(discarded("its device does not introduce itself"));
        }
        let room_id = payload.content.get("room_id").and_then(Json::as_str);
        let room_id = room_id.filter(|room_id| identifier::is_sound(room_id));
        let room_id = room_id.ok_or_else(|| discarded("it is for no room"))?;
        let file = payload.content.get("file").and_then(Json::as_object);
        let file = EncryptedFile::read(file.ok_or_else(|| discarded("it has no file"))?)
            .or_fail(Kind::Olm, "A key bundle is discarded")?;
        let number = self.tx.take_number("received bundle")?;
        self.tx.put(&ReceivedBundle {
            room_id: room_id.to_owned(),
            sender: payload.sender.clone(),
            number,
            sender_key: sender_key.to_owned(),
            url: file.url,
            key: file.key,
            failures: 0,
            retry_at: 0,
        })?;
        let old = Query::all().until("number", number - MOST_KEPT);
        self.tx.delete_where::<ReceivedBundle>(&old).map(drop)
    }

    /// Takes in a bundle that was fetched; one that does not hold is given up.
    pub(super) fn key_bundle_answered(
        &mut self,
        room_id: &str,
        sender: &str,
        number: i64,
        mut bytes: Vec<u8>,
    ) -> Result<()> {
        let Some(bundle) = self.received_bundle(room_id, sender, number)? else { return Ok(()) };
        self.tx.delete::<ReceivedBundle>(&bundle.key())?;
        if bytes.len() > LARGEST || attachment::decrypt(&bundle.key, &mut bytes).is_err() {
            return Ok(());
        }
        let bytes = zeroize::Zeroizing::new(bytes);
        for session in key_bundle::read(&bytes, room_id).unwrap_or_default() {
            self.keep_exported(session, KeySource::Bundle, Some(sender))?;
        }
        Ok(())
    }

    /// Takes in that a bundle could not be had. Servers forget files.
    pub(super) fn key_bundle_failed(
        &mut self,
        room_id: &str,
        sender: &str,
        number: i64,
        is_final: bool,
    ) -> Result<()> {
        let Some(bundle) = self.received_bundle(room_id, sender, number)? else { return Ok(()) };
        if is_final {
            return self.tx.delete::<ReceivedBundle>(&bundle.key());
        }
        let retry_at = self.now + pause(bundle.failures);
        self.tx.put(&ReceivedBundle { failures: bundle.failures + 1, retry_at, ..bundle })
    }

    /// A bundle, unless its sender has told of a newer one.
    fn received_bundle(
        &self,
        room_id: &str,
        sender: &str,
        number: i64,
    ) -> Result<Option<ReceivedBundle>> {
        let found = self.tx.get::<ReceivedBundle>(&[room_id.into(), sender.into()])?;
        Ok(found.filter(|bundle| bundle.number == number))
    }
}

impl Pump<'_, '_> {
    /// Tells the devices of those who are invited of our bundles.
    pub(super) fn share_key_bundles(&mut self) -> Result<()> {
        let mut wanted = Vec::new();
        for mut bundle in self.work.tx.select::<OwnBundle>(&Query::all())? {
            let expired = bundle.made_at + LIFETIME < self.work.now;
            let mut waiting = Vec::new();
            for user_id in std::mem::take(&mut bundle.users) {
                if !expired && !self.has_told(&bundle, &user_id, &mut wanted)? {
                    waiting.push(user_id);
                }
            }
            bundle.users = waiting;
            if expired || bundle.url.is_some() && bundle.users.is_empty() {
                self.work.tx.delete::<OwnBundle>(&bundle.key())?;
            } else {
                self.work.tx.put(&bundle)?;
            }
        }
        self.claim_one_time_keys(wanted)
    }

    /// Tells the signed devices of a user of a bundle. False when their list, or a session with one of
    /// them, must be had first.
    fn has_told(
        &mut self,
        bundle: &OwnBundle,
        user_id: &str,
        wanted: &mut Vec<(String, String)>,
    ) -> Result<bool> {
        let list = self.work.track(user_id)?;
        if list.outdated && list.retry_at <= self.work.now {
            return Ok(false);
        }
        let mut reachable = Vec::new();
        let before = wanted.len();
        for device in self.work.signed_devices(user_id)? {
            if self.work.has_olm_session(&device.identity_key)? {
                reachable.push(device);
            } else if device.claim_retry_at <= self.work.now {
                wanted.push((device.user_id, device.device_id));
            }
        }
        if wanted.len() > before {
            return Ok(false);
        }
        let url = bundle.url.clone().unwrap_or_default();
        let file = EncryptedFile { url, key: bundle.key.clone() };
        let content = to_raw_value(&json!({"room_id": bundle.room_id, "file": file.write()}))
            .or_fail(Kind::Internal, "A key bundle")?;
        for device in &reachable {
            self.work.send_to_device(device, BUNDLE, &content)?;
        }
        Ok(true)
    }

    /// Fetches the bundles of those whose invitation was accepted.
    pub(super) fn fetch_key_bundles(&mut self) -> Result<()> {
        for bundle in self.work.tx.select::<ReceivedBundle>(&Query::all())? {
            let room = self.work.room(&bundle.room_id)?;
            let Some(joined_at) = room.joined_at.filter(|_| is_of_host(&bundle, &room)) else {
                continue;
            };
            if joined_at + WELCOME < self.work.now {
                self.work.tx.delete::<ReceivedBundle>(&bundle.key())?;
                continue;
            }
            if self.work.track(&bundle.sender)?.outdated || bundle.retry_at > self.work.now {
                continue;
            }
            let devices = self.work.signed_devices(&bundle.sender)?;
            if !devices.iter().any(|device| device.identity_key == bundle.sender_key) {
                self.work.tx.delete::<ReceivedBundle>(&bundle.key())?;
                continue;
            }
            let ask = Ask::KeyBundle {
                room_id: bundle.room_id,
                sender: bundle.sender,
                number: bundle.number,
            };
            let Some((server, media_id)) = encrypted_file::address(&bundle.url) else { continue };
            if !self.is_busy(|busy| *busy == ask) {
                let path = path_of(MEDIA, &["download", &server, &media_id]);
                self.ask(ask, "GET", path, None)?;
            }
        }
        Ok(())
    }
}

/// Whether a bundle is of whoever invited us into the room that we are in.
fn is_of_host(bundle: &ReceivedBundle, room: &Room) -> bool {
    room.membership == Membership::Join && room.inviter.as_deref() == Some(bundle.sender.as_str())
}

fn discarded(what: &str) -> Error {
    Error::new(Kind::Olm, format!("A key bundle is discarded: {what}."))
}
