//! History that is shared with those who are invited: a bundle of room keys, in an encrypted file.
//!
//! Specification: client-server API, end-to-end encryption, "Sharing keys between users". Room keys whose
//! senders allow sharing with later members are given only to devices that their owner has signed: a bundle
//! reveals what was said in months. A bundle of another user is fetched only after that user's invitation was
//! accepted, so that nobody can make us fetch a file of their choice.

use std::collections::BTreeMap;

use serde_json::{json, value::to_raw_value};

use super::{
    HOUR, Machine, Millis, Work, devices,
    inbound_sessions::{self, best},
    olm_sessions,
    pump::Pump,
    request_table::Body,
    rooms::{self, shares_history},
    send_to_devices, tracking, user_trust,
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
            Ask, Device, InboundSession, KeySource, Lane, Membership, OwnBundle, ReceivedBundle,
            Room,
        },
    },
};

/// The types of the event: that of the specification, and the one from before it.
pub(super) const BUNDLE: &str = "m.room_key_bundle";
pub(super) const OLD_BUNDLE: &str = "io.element.msc4268.room_key_bundle";
/// For how long after we joined, keys of the user who invited us are accepted.
const WELCOME: Millis = 24 * HOUR;
/// A user who was not told of a bundle by then is not told.
const LIFETIME: Millis = HOUR;
/// How many bundles of others are kept: anyone may announce some.
const MOST_KEPT: i64 = 500;
/// The largest bundle that is taken, in bytes: the keys of some hundred thousand sessions.
const LARGEST: usize = 64 << 20;

impl Machine {
    /// Makes a bundle of the room keys of a room that may be shared. Returns its number, and the
    /// ciphertext to upload. None where there is no such key, or the room does not let those who
    /// come later read what was before.
    ///
    /// # Errors
    /// Those of the store.
    pub fn make_key_bundle(
        &mut self,
        now: Millis,
        room_id: &str,
    ) -> Result<Option<(i64, Vec<u8>)>> {
        self.work(now, |work| {
            if !shares_history(&rooms::room(work, room_id)?) {
                return Ok(None);
            }
            let sessions = sessions_of_room(work, room_id)?;
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

    /// Tells the devices of users of a bundle that was uploaded to `url`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when `url` is no address of a file.
    pub fn share_key_bundle(
        &mut self,
        now: Millis,
        number: i64,
        url: &str,
        users: &[String],
    ) -> Result<()> {
        if encrypted_file::address(url).is_none() {
            return Err(Error::new(Kind::Answer, "The server took the file and gave no address."));
        }
        self.work(now, |work| {
            let Some(bundle) = work.tx.get::<OwnBundle>(&[number.into()])? else { return Ok(()) };
            for user_id in users {
                // No room may be shared with them yet, and then no sync tells of their devices.
                tracking::track(work, user_id)?;
                tracking::mark_outdated(work, user_id)?;
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
        self.read(|work| Ok(work.tx.get::<OwnBundle>(&[number.into()])?.is_some()))
    }
}

/// The sessions of a room, the best row of each.
fn sessions_of_room(work: &Work<'_>, room_id: &str) -> Result<Vec<InboundSession>> {
    let mut sessions: BTreeMap<String, Vec<InboundSession>> = BTreeMap::new();
    for session in work.tx.select::<InboundSession>(&Query::equal("room_id", room_id))? {
        sessions.entry(session.session_id.clone()).or_default().push(session);
    }
    Ok(sessions.into_values().filter_map(best).collect())
}

/// The devices of a user that a bundle may be given to, or taken from.
fn signed_devices(work: &Work<'_>, user_id: &str) -> Result<Vec<Device>> {
    let owner = user_trust::owner(work, user_id)?;
    let mut devices = devices::devices_of(work, user_id)?;
    devices
        .retain(|device| !device.dehydrated && trust::of_device(device, &owner) >= Trust::Signed);
    Ok(devices)
}

/// Records that a user shares a bundle. It is not fetched yet.
pub(super) fn receive_key_bundle(
    work: &mut Work<'_>,
    payload: &OlmPayload,
    sender_key: &str,
) -> Result<()> {
    if payload.device_keys.is_none() {
        return Err(discarded("its device does not introduce itself"));
    }
    let room_id = payload.text("room_id").filter(|room_id| identifier::is_sound(room_id));
    let room_id = room_id.ok_or_else(|| discarded("it is for no room"))?;
    let file = payload.content.get("file").and_then(Json::as_object);
    let file = EncryptedFile::read(file.ok_or_else(|| discarded("it has no file"))?)
        .or_fail(Kind::Olm, "A key bundle is discarded")?;
    let number = work.tx.take_number("received bundle")?;
    work.tx.put(&ReceivedBundle {
        room_id: room_id.to_owned(),
        sender: payload.sender.clone(),
        number,
        sender_key: sender_key.to_owned(),
        url: file.url,
        key: file.key,
    })?;
    let old = Query::all().until("number", number - MOST_KEPT);
    work.tx.delete_where::<ReceivedBundle>(&old).map(drop)
}

/// Imports a bundle that was fetched; an invalid one is given up.
pub(super) fn key_bundle_answered(
    work: &mut Work<'_>,
    room_id: &str,
    sender: &str,
    number: i64,
    mut bytes: Vec<u8>,
) -> Result<()> {
    let Some(bundle) = received_bundle(work, room_id, sender, number)? else { return Ok(()) };
    work.tx.delete::<ReceivedBundle>(&bundle.key())?;
    if bytes.len() > LARGEST || attachment::decrypt(&bundle.key, &mut bytes).is_err() {
        return Ok(());
    }
    let bytes = zeroize::Zeroizing::new(bytes);
    for session in key_bundle::read(&bytes, room_id).unwrap_or_default() {
        inbound_sessions::keep_exported(work, session, KeySource::Bundle, Some(sender))?;
    }
    Ok(())
}

/// Records that a bundle cannot be fetched. Servers delete files.
pub(super) fn key_bundle_is_gone(
    work: &mut Work<'_>,
    room_id: &str,
    sender: &str,
    number: i64,
) -> Result<()> {
    let Some(bundle) = received_bundle(work, room_id, sender, number)? else { return Ok(()) };
    work.tx.delete::<ReceivedBundle>(&bundle.key())
}

/// A bundle, unless its sender has told of a newer one.
fn received_bundle(
    work: &Work<'_>,
    room_id: &str,
    sender: &str,
    number: i64,
) -> Result<Option<ReceivedBundle>> {
    let found = work.tx.get::<ReceivedBundle>(&[room_id.into(), sender.into()])?;
    Ok(found.filter(|bundle| bundle.number == number))
}

/// Tells the devices of those who are invited of our bundles.
pub(super) fn share_key_bundles(pump: &mut Pump<'_, '_>) -> Result<()> {
    let mut wanted = Vec::new();
    for mut bundle in pump.work.tx.select::<OwnBundle>(&Query::all())? {
        let expired = bundle.made_at + LIFETIME < pump.work.now;
        let mut waiting = Vec::new();
        for user_id in std::mem::take(&mut bundle.users) {
            if !expired && !has_told(pump, &bundle, &user_id, &mut wanted)? {
                waiting.push(user_id);
            }
        }
        bundle.users = waiting;
        if expired || bundle.url.is_some() && bundle.users.is_empty() {
            pump.work.tx.delete::<OwnBundle>(&bundle.key())?;
        } else {
            pump.work.tx.put(&bundle)?;
        }
    }
    olm_sessions::claim_one_time_keys(pump, &Lane::Side, wanted)
}

/// Tells the signed devices of a user of a bundle. False when their list, or a session with one of
/// them, must be had first.
fn has_told(
    pump: &mut Pump<'_, '_>,
    bundle: &OwnBundle,
    user_id: &str,
    wanted: &mut Vec<(String, String)>,
) -> Result<bool> {
    let list = tracking::track(pump.work, user_id)?;
    if list.outdated && tracking::is_due(list.retry_at, pump.work.now) {
        return Ok(false);
    }
    let mut reachable = Vec::new();
    let before = wanted.len();
    for device in signed_devices(pump.work, user_id)? {
        if olm_sessions::has_olm_session(pump.work, &device)? {
            reachable.push(device);
        } else if tracking::is_due(device.claim_retry_at, pump.work.now) {
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
        send_to_devices::send_to_device(pump.work, device, BUNDLE, &content)?;
    }
    Ok(true)
}

/// Fetches the bundles of those whose invitation was accepted.
pub(super) fn fetch_key_bundles(pump: &mut Pump<'_, '_>) -> Result<()> {
    for bundle in pump.work.tx.select::<ReceivedBundle>(&Query::all())? {
        let room = rooms::room(pump.work, &bundle.room_id)?;
        let Some(joined_at) = room.joined_at.filter(|_| is_of_host(&bundle, &room)) else {
            continue;
        };
        if joined_at + WELCOME < pump.work.now {
            pump.work.tx.delete::<ReceivedBundle>(&bundle.key())?;
            continue;
        }
        if tracking::track(pump.work, &bundle.sender)?.outdated {
            continue;
        }
        let devices = signed_devices(pump.work, &bundle.sender)?;
        if !devices.iter().any(|device| device.identity_key == bundle.sender_key) {
            pump.work.tx.delete::<ReceivedBundle>(&bundle.key())?;
            continue;
        }
        let Some((server, media_id)) = encrypted_file::address(&bundle.url) else { continue };
        let ReceivedBundle { room_id, sender, number, .. } = bundle;
        let ask = Ask::KeyBundle { room_id, sender, number, server, media_id };
        pump.ask(ask, Body::Implied)?;
    }
    Ok(())
}

/// Whether a bundle is from the user who invited us, and we joined the room.
fn is_of_host(bundle: &ReceivedBundle, room: &Room) -> bool {
    room.membership == Membership::Join && room.inviter.as_deref() == Some(bundle.sender.as_str())
}

fn discarded(what: &str) -> Error {
    Error::new(Kind::Olm, format!("A key bundle is discarded: {what}."))
}
