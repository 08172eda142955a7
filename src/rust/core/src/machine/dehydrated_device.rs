//! A dehydrated device: it waits on the server, encrypted, and is sent room keys while our user has
//! no other device. The next one reads them.
//!
//! MSC3814. The key that it is encrypted with is in secret storage, and nowhere else.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use vodozemac::olm::Account;

use super::{
    Machine, Millis, Work, identity,
    inbound_sessions::Keeping,
    olm_sessions::{MOST_SESSIONS, decrypt},
    room_keys,
    sync::is_of_the_event,
    to_device,
};
use crate::{
    error::{Error, Kind, Result},
    judgement::{
        dehydrated_device::{Events, Stored},
        room_event::ENCRYPTED,
        secret_storage::{SecretStorage, StorageSecret},
        to_device_event::{OlmContent, ToDeviceEvent},
    },
    primitives::{
        account,
        canonical_json::{Json, Numbers, Object},
        cross_signing::Usage,
        dehydrated_device::{DehydrationKey, SECRET},
    },
    store::records::OlmSession,
};

/// How many batches in a row may bring nothing that is new.
const MOST_IDLE: u32 = 100;
/// How many events are read: a server can invent them without end.
const MOST_EVENTS: usize = 1_000_000;

/// A dehydrated device that was opened. What it reads is saved, and its ratchets are not: the
/// server keeps the events, and a process that did not reach the end of them starts over.
pub struct Rehydration {
    /// Its name.
    pub device_id: String,
    account: Account,
    /// By the key of the sending device.
    sessions: HashMap<String, Vec<OlmSession>>,
    /// Hashes of the events that were read.
    seen: HashSet<[u8; 32]>,
    idle: u32,
}

/// What some events brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RehydratedKeys {
    /// Room and session ids.
    pub keys: Vec<(String, String)>,
    /// What could not be read, and was left out.
    pub problems: Vec<String>,
    /// The token that requests the next events; none after the last.
    pub next_batch: Option<String>,
    /// The page held no events. Servers that do not leave out the token after the last event say so.
    pub empty: bool,
}

impl Rehydration {
    /// Opens `stored`, the response to `GET /dehydrated_device`.
    ///
    /// # Errors
    /// [`Kind::Answer`] when it is no such response; [`Kind::RecoveryKey`], [`Kind::SecretStorage`]
    /// when its key cannot be had; [`Kind::DehydratedDevice`] when it does not open, or is another
    /// device.
    pub fn open(storage: &SecretStorage, secret: StorageSecret<'_>, stored: &str) -> Result<Self> {
        let stored = Stored::read(stored)?;
        let account = key(storage, secret)?.open(&stored.device_data)?;
        if account.curve25519_key().to_base64() != stored.device_id {
            return Err(Error::new(
                Kind::DehydratedDevice,
                "The dehydrated device is not the one that the server says it is.",
            ));
        }
        Ok(Self {
            device_id: stored.device_id,
            account,
            sessions: HashMap::new(),
            seen: HashSet::new(),
            idle: 0,
        })
    }

    /// Takes a room key from an event, if it holds one.
    fn receive(&mut self, work: &mut Work<'_>, text: &str) -> Result<Option<(String, String)>> {
        if !self.seen.insert(Sha256::digest(text).into()) {
            return Ok(None);
        }
        self.idle = 0;
        let ToDeviceEvent { event_type, sender, content } = ToDeviceEvent::read(text)?;
        if event_type != ENCRYPTED {
            return Ok(None);
        }
        let OlmContent { sender_key, message, .. } = OlmContent::read(&content, &self.device_id)?;
        let identity_key = sender_key.to_base64();
        let sessions = self.sessions.entry(identity_key.clone()).or_default();
        let account = &mut self.account;
        let (at, plaintext) =
            decrypt(sessions, move || Ok(account), sender_key, &message, work.now)?;
        let last = sessions.remove(at);
        sessions.push(last);
        if sessions.len() > MOST_SESSIONS {
            sessions.remove(0);
        }
        let signing_key = self.account.ed25519_key();
        let payload = to_device::judge_payload(work, &plaintext, &sender, sender_key, signing_key)?;
        // Other events need a device that can respond.
        if payload.event_type != "m.room_key"
            || room_keys::receive_room_key(work, &payload, &identity_key, None)?
                == Keeping::Contradicts
        {
            return Ok(None);
        }
        let text = |name: &str| payload.text(name).map(str::to_owned);
        Ok(text("room_id").zip(text("session_id")))
    }
}

impl Machine {
    /// The account data that holds a key for dehydrated devices, as text. None where there is one,
    /// which is used then.
    ///
    /// # Errors
    /// As [`Machine::seal_secret`].
    pub fn seal_dehydration_key(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<Option<String>> {
        if key(storage, secret).is_ok() {
            return Ok(None);
        }
        self.seal_secret(storage, secret, SECRET, &DehydrationKey::random()?.to_base64())
    }

    /// A new device, which our identity has signed: its name, and the body of
    /// `PUT /dehydrated_device`.
    ///
    /// # Errors
    /// [`Kind::RecoveryKey`], [`Kind::SecretStorage`] when its key cannot be had;
    /// [`Kind::Identity`] when the key that signs devices is not here.
    pub fn make_dehydrated_device(
        &mut self,
        storage: &SecretStorage,
        secret: StorageSecret<'_>,
    ) -> Result<(String, String)> {
        let key = key(storage, secret)?;
        let mut account = Account::new();
        account.generate_one_time_keys(account.max_number_of_one_time_keys());
        account.generate_fallback_key();
        let device_id = account.curve25519_key().to_base64();
        self.read(|work| {
            let user_id = &work.own.user_id;
            let mut device_keys = account::dehydrated_device_keys(&account, user_id)?;
            sign_with_identity(work, &mut device_keys)?;
            let mut body = account::unpublished_keys(&account, user_id, &device_id)?;
            let name = "Dehydrated device".to_owned();
            body.extend([
                ("device_id".to_owned(), Json::String(device_id.clone())),
                ("device_data".to_owned(), Json::Object(key.seal(&account)?)),
                ("device_keys".to_owned(), Json::Object(device_keys)),
                ("initial_device_display_name".to_owned(), Json::String(name)),
            ]);
            Ok((device_id, Json::Object(body).canonical(Numbers::Canonical)?))
        })
    }

    /// Processes `body`, events that a dehydrated device was sent: the room keys in them are kept
    /// in one transaction.
    ///
    /// # Errors
    /// [`Kind::Answer`] when these are no events, or a server gives them without end. After any
    /// error the device has to be opened again.
    pub fn receive_dehydrated_events(
        &mut self,
        now: Millis,
        device: &mut Rehydration,
        body: &str,
    ) -> Result<RehydratedKeys> {
        let Events { events, next_batch } = Events::read(body)?;
        device.idle += 1;
        let empty = events.is_empty();
        let mut found = RehydratedKeys { next_batch, empty, ..RehydratedKeys::default() };
        self.work(now, |work| {
            for event in &events {
                match device.receive(work, event.get()) {
                    Ok(key) => found.keys.extend(key),
                    Err(error) if is_of_the_event(&error) => {
                        found.problems.push(format!("to-device event: {error}"));
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        })?;
        if found.next_batch.is_some()
            && (device.idle > MOST_IDLE || device.seen.len() > MOST_EVENTS)
        {
            return Err(Error::new(
                Kind::Answer,
                "The server gives events of the dehydrated device without end.",
            ));
        }
        Ok(found)
    }
}

/// Adds the signature of our identity.
fn sign_with_identity(work: &Work<'_>, object: &mut Object) -> Result<()> {
    let own = identity::own_identity(work)?;
    let shown = identity::identity(work, &work.own.user_id)?;
    let shown = shown.filter(|shown| own.refused.is_none() && !shown.changed());
    let held = identity::holds(&own.private, shown.as_ref(), Usage::SelfSigning);
    let missing = || {
        Error::new(
            Kind::Identity,
            "The key of your identity that signs devices is not on this device. \
             Run mx_crypto_setup() first.",
        )
    };
    let self_signing = own.private.self_signing.as_ref().filter(|_| held);
    self_signing.ok_or_else(missing)?.sign(object, &work.own.user_id)
}

/// The key that secret storage holds.
fn key(storage: &SecretStorage, secret: StorageSecret<'_>) -> Result<DehydrationKey> {
    let refused = |what: &str| {
        Error::new(Kind::SecretStorage, format!("The key of the dehydrated device {what}."))
    };
    let text = storage.open(secret)?.secret(SECRET)?;
    let text = text.ok_or_else(|| refused("is not in secret storage under this key"))?;
    DehydrationKey::from_base64(&text).map_err(|_| refused("in secret storage is none"))
}
