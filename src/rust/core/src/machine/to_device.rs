//! To-device events that came with a sync.

use vodozemac::{Curve25519PublicKey, Ed25519PublicKey, megolm::InboundGroupSession};

use super::{
    Work, devices,
    key_bundles::{self, BUNDLE, OLD_BUNDLE},
    key_requests,
    olm_ahead::{Encrypted, ReadEvent},
    olm_repair,
    olm_sessions::{self, Said},
    received_requests, room_keys, secret_sharing, verification, withheld,
};
use crate::{
    error::{Kind, Result},
    judgement::{
        olm_payload::{self, OlmPayload, Recipient},
        to_device_event::{ToDeviceEvent, discarded},
        verification::PREFIX,
        withheld::WITHHELD,
    },
    primitives::canonical_json::Object,
    store::{Query, records::Device},
};

/// Processes one to-device event.
///
/// # Errors
/// Why it was discarded. A failure of the store is an error of another kind than
/// [`Kind::Olm`], [`Kind::Megolm`], [`Kind::Json`] or [`Kind::Encoding`].
pub(super) fn receive_to_device(work: &mut Work<'_>, read: ReadEvent) -> Result<()> {
    let ReadEvent { event: ToDeviceEvent { event_type, sender, content }, olm } = read;
    if is_of_dehydrated_device(work, &sender, &content)? {
        return Err(discarded(DEHYDRATED));
    }
    if let Some(encrypted) = olm {
        let received = open(work, &sender, encrypted?)?;
        return dispatch(work, received);
    }
    match event_type.as_str() {
        WITHHELD => withheld::receive_withheld(work, &sender, &content),
        key_requests::REQUEST => received_requests::receive_key_request(work, &sender, &content),
        secret_sharing::REQUEST => secret_sharing::receive_secret_request(work, &sender, &content),
        // SAS proves by itself who is speaking; what comes over Olm is taken as well.
        other if other.starts_with(PREFIX) => {
            verification::receive_verification_to_device(work, &sender, other, &content)
        }
        // Whatever else comes without Olm around it proves nothing: room keys in the clear, above
        // all, are ignored (specification, `m.megolm.v1.aes-sha2`: "received via an Olm channel").
        _ => Ok(()),
    }
}

/// What came over Olm, and holds.
struct Received {
    payload: OlmPayload,
    sender_key: String,
    /// The session of a room key, where it was read ahead.
    room_key: Option<InboundGroupSession>,
}

fn open(work: &mut Work<'_>, sender: &str, encrypted: Encrypted) -> Result<Received> {
    let Encrypted { sender_key, message, tag, opened } = encrypted;
    if olm_repair::was_read(work, &tag)? {
        return Err(discarded("it was read before, the server repeats it"));
    }
    let identity_key = sender_key.to_base64();
    let decrypted = match olm_sessions::decrypt_olm(work, sender, sender_key, &message, opened) {
        Err(error) if error.kind == Kind::Olm => {
            olm_repair::olm_is_broken(work, sender, &identity_key)?;
            return Err(error);
        }
        other => other?,
    };
    olm_repair::remember_read(work, tag)?;
    let (payload, room_key) = match decrypted.said {
        Said::Plaintext(plaintext) => {
            let signing_key = olm_sessions::own_signing_key(work)?;
            (judge_payload(work, &plaintext, sender, sender_key, signing_key), None)
        }
        Said::Judged { payload, room_key } => {
            let known = payload.and_then(|payload| {
                check_known_device(work, &payload, &identity_key)?;
                Ok(*payload)
            });
            (known, room_key.map(|session| *session))
        }
    };
    // Its ratchet moved, whatever the message said.
    olm_sessions::keep_used(work, decrypted.session, decrypted.is_new, payload.as_ref().ok())?;
    Ok(Received { payload: payload?, sender_key: identity_key, room_key })
}

/// Judges what a message said that was for the device of ours with `signing_key`.
pub(super) fn judge_payload(
    work: &Work<'_>,
    plaintext: &[u8],
    sender: &str,
    sender_key: Curve25519PublicKey,
    signing_key: Ed25519PublicKey,
) -> Result<OlmPayload> {
    let recipient = Recipient { user_id: &work.own.user_id, signing_key };
    let payload = olm_payload::judge(plaintext, sender, sender_key, recipient)?;
    check_known_device(work, &payload, &sender_key.to_base64())?;
    Ok(payload)
}

/// Where we know the sending device already, the Ed25519 key it claims must be its own. It must
/// not be a dehydrated one.
fn check_known_device(work: &Work<'_>, payload: &OlmPayload, sender_key: &str) -> Result<()> {
    let signing_key = payload.signing_key.to_base64();
    let mut known = work.tx.select::<Device>(&Query::equal("identity_key", sender_key))?;
    known.retain(|device| device.user_id == payload.sender);
    let device = known.iter().find(|device| device.signing_key == signing_key);
    if device.is_none() && !known.is_empty() {
        return Err(discarded("its device is known under another Ed25519 key"));
    }
    let introduced = payload.device_keys.as_ref().is_some_and(|(keys, _)| keys.dehydrated);
    if introduced || device.is_some_and(|device| device.dehydrated) {
        return Err(discarded(DEHYDRATED));
    }
    Ok(())
}

/// Whether the device that an event without Olm around it names as its own is a dehydrated one.
fn is_of_dehydrated_device(work: &Work<'_>, sender: &str, content: &Object) -> Result<bool> {
    let named = ["from_device", "requesting_device_id", "sender_key"];
    let Some(name) = named.iter().find_map(|name| content.get(*name)?.as_str()) else {
        return Ok(false);
    };
    // The name of such a device is its key.
    let device = work.tx.get::<Device>(&[sender.into(), name.into()])?;
    Ok(device.is_some_and(|device| device.dehydrated))
}

fn dispatch(work: &mut Work<'_>, received: Received) -> Result<()> {
    let Received { payload, sender_key, room_key } = received;
    match payload.event_type.as_str() {
        "m.room_key" => {
            room_keys::receive_room_key(work, &payload, &sender_key, room_key).map(drop)
        }
        // A notice that our last messages could not be read.
        "m.dummy" => {
            let signing_key = payload.signing_key.to_base64();
            match devices::device_with(work, &payload.sender, &sender_key, &signing_key)? {
                Some(device) => olm_repair::keys_were_lost(work, &device),
                None => Ok(()),
            }
        }
        other if other.starts_with(PREFIX) => verification::receive_verification_to_device(
            work,
            &payload.sender,
            other,
            &payload.content,
        ),
        "m.forwarded_room_key" => key_requests::receive_forwarded_key(work, &payload, &sender_key),
        BUNDLE | OLD_BUNDLE => key_bundles::receive_key_bundle(work, &payload, &sender_key),
        secret_sharing::SEND => secret_sharing::receive_secret(work, &payload, &sender_key),
        _ => Ok(()),
    }
}

/// MSC3814: "dehydrated device should not be sending messages".
const DEHYDRATED: &str = "a dehydrated device sends nothing";
