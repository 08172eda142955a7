//! Olm sessions with other devices: opened from claimed keys, used to encrypt and to decrypt.
//!
//! Specification: client-server API, end-to-end encryption, "`m.olm.v1.curve25519-aes-sha2`".

use std::collections::BTreeMap;

use serde_json::{json, value::RawValue};
use vodozemac::{
    Curve25519PublicKey, Ed25519PublicKey,
    olm::{Account, OlmMessage},
};
use zeroize::Zeroizing;

use super::{
    Millis, Work,
    device_lists::pause,
    withheld::{NO_OLM, WITHHELD},
};
use crate::{
    error::{Error, Kind, OrFail, Result},
    judgement::{identifier, keys_claim},
    primitives::{
        account::{MEGOLM, OLM},
        keys, olm, parallel,
    },
    store::{
        Query,
        records::{Device, OlmSession},
    },
};

/// How many sessions with one device are kept. The specification asks for four or more.
pub(super) const MOST_SESSIONS: usize = 8;

impl Work<'_> {
    /// The sessions with the device that owns `identity_key`, the last that was used first.
    pub(super) fn olm_sessions(&self, identity_key: &str) -> Result<Vec<OlmSession>> {
        let mut sessions =
            self.tx.select::<OlmSession>(&Query::equal("identity_key", identity_key))?;
        sessions.sort_by_key(|session| std::cmp::Reverse(session.last_received_at));
        Ok(sessions)
    }

    /// The session to send with.
    fn olm_session(&self, identity_key: &str) -> Result<Option<OlmSession>> {
        let mut sessions = self.olm_sessions(identity_key)?.into_iter();
        Ok(sessions.find(|session| !session.receive_only))
    }

    pub(super) fn has_olm_session(&self, identity_key: &str) -> Result<bool> {
        Ok(self.olm_session(identity_key)?.is_some())
    }

    /// Takes in the answer to `/keys/claim` about `asked`: opens a session with each device that
    /// has a key that holds, and notes when to try the others again.
    pub(super) fn keys_claim_answered(
        &mut self,
        asked: &[(String, String)],
        body: &str,
    ) -> Result<()> {
        let answer = keys_claim::Answer::read(body)?;
        let mut devices = Vec::new();
        for (user_id, device_id) in asked {
            let device: Option<Device> =
                self.tx.get(&[user_id.as_str().into(), device_id.as_str().into()])?;
            devices.extend(device);
        }
        let account = self.account()?;
        let opened = parallel::map(devices, |device| {
            let open = || {
                let signing_key = keys::ed25519(&device.signing_key)?;
                let one_time_key = answer.judge(&device.user_id, &device.device_id, signing_key)?;
                olm::outbound(account, keys::curve25519(&device.identity_key)?, one_time_key)
            };
            let session = open();
            (device, session)
        });
        for (mut device, session) in opened {
            match session {
                Ok(session) => {
                    device.claim_failures = 0;
                    device.claim_retry_at = 0;
                    device.told_no_olm = false;
                    self.tx.put(&device)?;
                    self.keep_olm_session(OlmSession {
                        identity_key: device.identity_key.clone(),
                        session_id: session.session_id(),
                        session,
                        last_received_at: self.now,
                        receive_only: false,
                    })?;
                    self.olm_is_repaired(&device)?;
                }
                Err(_) => self.no_one_time_key(device, &answer)?,
            }
        }
        Ok(())
    }

    fn no_one_time_key(&self, mut device: Device, answer: &keys_claim::Answer) -> Result<()> {
        let server = identifier::server_name(&device.user_id).unwrap_or_default();
        // A server that could not be reached says nothing about the device.
        let unreachable = answer.failures.contains(server);
        let failures = if unreachable { 0 } else { device.claim_failures };
        if !unreachable && !device.told_no_olm {
            device.told_no_olm = true;
            let content = json!({
                "algorithm": MEGOLM,
                "sender_key": self.own.identity_key,
                "code": NO_OLM,
                "reason": "The sender could open no secure channel to this device.",
            });
            let to = BTreeMap::from([(device.device_id.as_str(), content)]);
            self.tell_devices(WITHHELD, &BTreeMap::from([(device.user_id.as_str(), to)]))?;
        }
        device.claim_retry_at = self.now + pause(failures);
        device.claim_failures = failures + 1;
        self.tx.put(&device)
    }

    fn keep_olm_session(&self, session: OlmSession) -> Result<()> {
        self.tx.put(&session)?;
        // The least recently used go. They are few, so nothing that is under way is lost.
        for surplus in self.olm_sessions(&session.identity_key)?.iter().skip(MOST_SESSIONS) {
            let key = [surplus.identity_key.as_str().into(), surplus.session_id.as_str().into()];
            self.tx.delete::<OlmSession>(&key)?;
        }
        Ok(())
    }

    /// Encrypts an event to each device that we have a session with, and saves the ratchets. What
    /// comes back are the contents of `m.room.encrypted` to-device events, as JSON text, in the
    /// order of `devices`; none where there is no session.
    pub(super) fn encrypt_to_devices(
        &mut self,
        devices: &[Device],
        event_type: &str,
        content: &RawValue,
    ) -> Result<Vec<Option<String>>> {
        let mut with_sessions = Vec::new();
        for device in devices {
            let session = self.olm_session(&device.identity_key)?;
            with_sessions.push((device, session));
        }
        let device_keys: &RawValue = serde_json::from_str(&self.own.device_keys)
            .or_fail(Kind::Internal, "Our own device keys")?;
        let own = &self.own;
        let encrypted = parallel::map(with_sessions, |(device, session)| {
            let mut session = session?;
            let payload = json_text(&Payload {
                r#type: event_type,
                content,
                sender: &own.user_id,
                keys: SigningKey { ed25519: &own.signing_key },
                recipient: &device.user_id,
                recipient_keys: SigningKey { ed25519: &device.signing_key },
                sender_device_keys: device_keys,
            });
            let message = payload
                .and_then(|payload| olm::encrypt(&mut session.session, payload.as_bytes()))
                .ok()?;
            let (message_type, body) = olm::parts(&message);
            let content = json!({
                "algorithm": OLM,
                "sender_key": own.identity_key,
                "ciphertext": {
                    device.identity_key.as_str(): {"type": message_type, "body": body},
                },
            });
            Some((session, content.to_string()))
        });
        let mut contents = Vec::new();
        for result in encrypted {
            // The ratchet is saved in the transaction in which its message is put in the outbox.
            contents.push(match result {
                Some((session, content)) => {
                    self.tx.put(&session)?;
                    Some(content)
                }
                None => None,
            });
        }
        Ok(contents)
    }

    /// Decrypts a message from the device that owns `sender_key`.
    ///
    /// # Errors
    /// [`Kind::Olm`]; nothing has changed then.
    pub(super) fn decrypt_olm(
        &mut self,
        sender_key: Curve25519PublicKey,
        message: &OlmMessage,
    ) -> Result<Zeroizing<Vec<u8>>> {
        let mut sessions = self.olm_sessions(&sender_key.to_base64())?;
        let (known, now) = (sessions.len(), self.now);
        let (at, plaintext) =
            decrypt(&mut sessions, || self.account_mut(), sender_key, message, now)?;
        let session = sessions.swap_remove(at);
        if at < known {
            self.tx.put(&session)?
        } else {
            self.keep_olm_session(session)?
        }
        Ok(plaintext)
    }

    /// Our own Ed25519 key.
    pub(super) fn own_signing_key(&self) -> Result<Ed25519PublicKey> {
        keys::ed25519(&self.own.signing_key)
    }
}

/// Decrypts a message from the device that owns `sender_key` with one of `sessions`, which are those
/// with it, or with a new one that `account` opens and that is put behind them. Which one it was, and
/// what it said.
///
/// # Errors
/// [`Kind::Olm`]; nothing has changed then.
pub(super) fn decrypt<'a>(
    sessions: &mut Vec<OlmSession>,
    account: impl FnOnce() -> Result<&'a mut Account>,
    sender_key: Curve25519PublicKey,
    message: &OlmMessage,
    now: Millis,
) -> Result<(usize, Zeroizing<Vec<u8>>)> {
    let (at, plaintext) = match message {
        // The second message of a session names the same one-time key as the first, which is used up:
        // it must go to the session it belongs to, never open another.
        OlmMessage::PreKey(inner) => {
            match sessions.iter().position(|s| s.session_id == inner.session_id()) {
                Some(at) => (at, olm::decrypt(&mut sessions[at].session, message)?),
                None => {
                    let opened = olm::inbound(account()?, sender_key, inner)?;
                    sessions.push(OlmSession {
                        identity_key: sender_key.to_base64(),
                        session_id: opened.session.session_id(),
                        session: opened.session,
                        last_received_at: now,
                        receive_only: false,
                    });
                    (sessions.len() - 1, opened.plaintext)
                }
            }
        }
        OlmMessage::Normal(_) => {
            let read = |session: &mut OlmSession| olm::decrypt(&mut session.session, message).ok();
            let mut sessions = sessions.iter_mut().enumerate();
            let found = sessions.find_map(|(at, session)| Some((at, read(session)?)));
            let none = || Error::new(Kind::Olm, "No Olm session can decrypt this message.");
            found.ok_or_else(none)?
        }
    };
    sessions[at].last_received_at = now;
    Ok((at, Zeroizing::new(plaintext)))
}

#[derive(serde::Serialize)]
struct SigningKey<'a> {
    ed25519: &'a str,
}

/// What goes inside an Olm message. Specification: "`m.olm.v1.curve25519-aes-sha2`", `OlmPlaintext`.
#[derive(serde::Serialize)]
struct Payload<'a> {
    r#type: &'a str,
    content: &'a RawValue,
    sender: &'a str,
    keys: SigningKey<'a>,
    recipient: &'a str,
    recipient_keys: SigningKey<'a>,
    sender_device_keys: &'a RawValue,
}

fn json_text(payload: &Payload<'_>) -> Result<Zeroizing<String>> {
    serde_json::to_string(payload).map(Zeroizing::new).or_fail(Kind::Internal, "An Olm payload")
}
