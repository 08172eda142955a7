//! Reads the to-device events of a sync ahead, on all cores, and opens the Olm sessions that they begin: three
//! Diffie-Hellmans, and the check of the device keys inside, take longer than all else of such an event. `to_device`
//! uses what comes out when the event has its turn, if the session is new then, and the key of ours that opened it is
//! still there. Nothing is decided here, and nothing is stored.

use std::{collections::BTreeSet, sync::Mutex};

use vodozemac::{
    Curve25519PublicKey,
    olm::{Account, OlmMessage, PreKeyMessage},
};
use zeroize::Zeroizing;

use super::{
    Work, olm_repair,
    olm_sessions::{self, Opened},
    own_account,
};
use crate::{
    error::Result,
    judgement::{
        olm_payload::{self, Recipient},
        room_event::ENCRYPTED,
        to_device_event::{OlmContent, ToDeviceEvent},
    },
    primitives::{account, megolm, olm, parallel},
};

/// How many events are read at a time: they are in memory until each had its turn.
pub(super) const AT_A_TIME: usize = 512;
/// With fewer new sessions the copies of the account, one for each thread, cost more than the threads save: a copy
/// derives the public half of each one-time key.
const FEWEST: usize = 64;

/// A to-device event that was read.
pub(super) struct ReadEvent {
    pub(super) event: ToDeviceEvent,
    /// What an encrypted one holds for this device.
    pub(super) olm: Option<Result<Encrypted>>,
}

/// An Olm message for this device.
pub(super) struct Encrypted {
    pub(super) sender_key: Curve25519PublicKey,
    pub(super) message: OlmMessage,
    /// What it is remembered by.
    pub(super) tag: String,
    /// The session that it begins.
    pub(super) opened: Option<Box<Opened>>,
}

/// Reads events, and opens the sessions that they begin, if these are so many that threads are worth it.
pub(super) fn read_ahead(work: &mut Work<'_>, events: &[String]) -> Result<Vec<Result<ReadEvent>>> {
    let identity_key = work.own.identity_key.as_str();
    let mut read = parallel::map(events.iter().collect(), |text| read_event(text, identity_key));
    open_sessions(work, &mut read)?;
    Ok(read)
}

fn read_event(text: &str, identity_key: &str) -> Result<ReadEvent> {
    let event = ToDeviceEvent::read(text)?;
    let encrypted = || {
        let OlmContent { sender_key, message_type, body, message } =
            OlmContent::read(&event.content, identity_key)?;
        let tag = olm_repair::tag(&sender_key.to_base64(), message_type, body);
        Ok(Encrypted { sender_key, message, tag, opened: None })
    };
    let olm = (event.event_type == ENCRYPTED).then(encrypted);
    Ok(ReadEvent { event, olm })
}

fn open_sessions(work: &mut Work<'_>, events: &mut [Result<ReadEvent>]) -> Result<()> {
    if events.len() < FEWEST || !parallel::is_spread(events.len()) {
        return Ok(());
    }
    let (mut new, mut seen) = (Vec::new(), BTreeSet::new());
    for (place, event) in events.iter().enumerate() {
        if let Ok(ReadEvent { event, olm: Some(Ok(encrypted)) }) = event
            && let OlmMessage::PreKey(message) = &encrypted.message
        {
            let (key, id) = (encrypted.sender_key.to_base64(), message.session_id());
            // A session is opened by its first message, and reads the others.
            if !olm_sessions::is_known(work, &key, &id)? && seen.insert((key, id)) {
                new.push((place, event.sender.as_str(), encrypted.sender_key, message));
            }
        }
    }
    if new.len() < FEWEST {
        return Ok(());
    }
    let own = own_account::account(work)?;
    let copies = (0..parallel::threads(new.len())).map(|_| account::copy(own));
    let copies = Mutex::new(copies.collect::<Vec<_>>());
    let recipient =
        Recipient { user_id: &work.own.user_id, signing_key: olm_sessions::own_signing_key(work)? };
    let places: Vec<usize> = new.iter().map(|(place, ..)| *place).collect();
    let opened = parallel::map_shares(new, |share| {
        let mut account = copies.lock().ok().and_then(|mut copies| copies.pop());
        let open = |(_, sender, sender_key, message)| {
            open(account.as_mut()?, recipient, sender, sender_key, message)
        };
        share.into_iter().map(open).collect()
    });
    for (place, opened) in places.into_iter().zip(opened) {
        if let Ok(ReadEvent { olm: Some(Ok(encrypted)), .. }) = &mut events[place] {
            encrypted.opened = opened.map(Box::new);
        }
    }
    Ok(())
}

/// Opens a session with a copy of our account, and judges what the message says. None where that fails: the message
/// fails again when it has its turn.
fn open(
    account: &mut Account,
    recipient: Recipient<'_>,
    sender: &str,
    sender_key: Curve25519PublicKey,
    message: &PreKeyMessage,
) -> Option<Opened> {
    let keys = account.stored_one_time_key_count();
    let made = olm::inbound(account, sender_key, message).ok()?;
    let is_used_up = account.stored_one_time_key_count() < keys;
    let plaintext = Zeroizing::new(made.plaintext);
    let payload = olm_payload::judge(&plaintext, sender, sender_key, recipient);
    let room_key = payload.as_ref().ok().and_then(|payload| {
        let is_room_key = payload.event_type == "m.room_key";
        megolm::inbound(payload.text("session_key").filter(|_| is_room_key)?).ok()
    });
    let one_time_key = is_used_up.then(|| message.one_time_key());
    Some(Opened { session: made.session, one_time_key, payload, room_key })
}
