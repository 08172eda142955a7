//! Encrypts and decrypts events of rooms.
//!
//! Specification: client-server API, end-to-end encryption, "`m.megolm.v1.aes-sha2`".

use serde_json::{json, value::RawValue};
use zeroize::Zeroizing;

use super::{MINUTE, Work};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::{
        reasons, relation,
        room_event::{MegolmContent, Payload, RELATES_TO, RoomEvent, unreadable},
    },
    primitives::{account::MEGOLM, canonical_json::Json, megolm},
    store::{
        Query,
        records::{Event, InboundSession, KeyUpload, OutboundSession, Unreadable, WithheldKey},
    },
};

impl Work<'_> {
    /// Encrypts an event for a room, and saves the ratchet. What comes back is the content of
    /// `m.room.encrypted`.
    pub(super) fn encrypt_room_event(
        &self,
        session: &mut OutboundSession,
        event_type: &str,
        content: &str,
    ) -> Result<String> {
        let room_id = session.room_id.as_str();
        let mut content = Json::parse_object(content)?;
        let relation = content.remove(RELATES_TO);
        let payload = json!({"type": event_type, "content": content, "room_id": room_id});
        let payload = Zeroizing::new(payload.to_string());
        let ciphertext = megolm::encrypt(&mut session.session, payload.as_bytes());
        let mut encrypted = json!({
            "algorithm": MEGOLM,
            "sender_key": self.own.identity_key,
            "device_id": self.own.device_id,
            "session_id": session.session_id,
            "ciphertext": ciphertext,
        });
        if let Some(relation) = relation {
            encrypted[RELATES_TO] =
                serde_json::to_value(relation).or_fail(Kind::Internal, "A relation")?;
        }
        Ok(encrypted.to_string())
    }

    /// Reads an event: decrypts it if it is encrypted, or says why that cannot be done.
    pub(super) fn read_event(&mut self, room_id: &str, event: &RoomEvent) -> Result<Event> {
        let mut read = Event {
            room_id: room_id.to_owned(),
            event_id: Some(event.event_id.clone()),
            event_type: event.event_type.clone(),
            state_key: event.state_key.clone(),
            sender: event.sender.clone(),
            origin_server_ts: event.origin_server_ts,
            content: event.content_text.clone(),
            encrypted: event.is_encrypted(),
            redacted: event.redacted,
            replaces: relation::target(&event.content, relation::REPLACE)
                .filter(|_| !event.redacted)
                .map(str::to_owned),
            ..Event::default()
        };
        if event.is_encrypted() {
            match self.decrypt(room_id, event, &mut read)? {
                Ok(payload) => {
                    read.event_type = payload.event_type;
                    read.content = payload.content_text;
                }
                Err(reason) => read.unreadable = Some(reason),
            }
        }
        self.remember(&read)?;
        Ok(read)
    }

    fn decrypt(
        &mut self,
        room_id: &str,
        event: &RoomEvent,
        read: &mut Event,
    ) -> Result<Result<Payload, Unreadable>> {
        let content = match MegolmContent::read(event) {
            Ok(content) => content,
            Err(reason) => return Ok(Err(reason)),
        };
        read.session_id = Some(content.session_id.to_owned());
        let Some(session) = self.session_of(room_id, content.session_id, &event.sender)? else {
            return self.why_no_session(room_id, content.session_id, event).map(Err);
        };
        read.sender_key = said(&session.sender_key);
        read.sender_signing_key = said(&session.sender_signing_key);
        read.key_source = Some(session.source);
        read.forwarder = session.forwarder.clone();
        let number = session.number;
        let decrypted = match decrypt_with(session, content.ciphertext) {
            Ok(decrypted) => decrypted,
            Err(reason) => return Ok(Err(reason)),
        };
        let payload = match Payload::judge(&decrypted.plaintext, room_id, event) {
            Ok(payload) => payload,
            Err(reason) => return Ok(Err(reason)),
        };
        // Last, so that only an event that is otherwise good can take an index.
        let (index, ts) = (decrypted.message_index, event.origin_server_ts);
        if !self.tx.bind_index(number, index, &event.event_id, ts)? {
            return Ok(Err(unreadable(
                "replayed",
                "Its ciphertext was already seen in another event: the server repeats it.",
            )));
        }
        Ok(Ok(payload))
    }

    fn why_no_session(
        &self,
        room_id: &str,
        session_id: &str,
        event: &RoomEvent,
    ) -> Result<Unreadable> {
        let of_others = Query::equal("room_id", room_id).and("session_id", session_id);
        if self.tx.count::<InboundSession>(&of_others)? > 0 {
            return Ok(unreadable(
                "sender_mismatch",
                "Its session belongs to another user than the server says sent it.",
            ));
        }
        let key = [room_id.into(), session_id.into(), event.sender.as_str().into()];
        if let Some(notice) = self.tx.get::<WithheldKey>(&key)? {
            let (code, message) = reasons::withheld(&notice.code);
            return Ok(unreadable(code, message));
        }
        let sent_at = event.origin_server_ts;
        if self.room(room_id)?.joined_at.is_some_and(|joined| sent_at < joined) {
            return Ok(unreadable("before_join", "It was sent before you were in the room."));
        }
        let upload = self.tx.get_single::<KeyUpload>()?.unwrap_or_default();
        // Clocks differ a little.
        if sent_at < upload.began_at - MINUTE {
            return Ok(unreadable(
                "before_device",
                "It was sent before this device was signed in.",
            ));
        }
        Ok(unreadable("unknown_session", "Its key has not come yet."))
    }
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn decrypt_with(
    session: &mut InboundSession,
    ciphertext: &str,
) -> Result<megolm::Decrypted, Unreadable> {
    let first = session.session.first_known_index();
    match megolm::message(ciphertext) {
        Err(error) => Err(unreadable("malformed_event", error.message)),
        Ok(message) if message.message_index() < first => {
            Err(unreadable("unknown_index", "It was sent before the key that came allows reading."))
        }
        Ok(_) => megolm::decrypt(&mut session.session, ciphertext)
            .map_err(|_| unreadable("bad_message", "It was altered, or is not of its session.")),
    }
}

/// JSON text as it stands.
pub(super) fn raw(text: &str) -> Result<&RawValue> {
    serde_json::from_str(text).or_fail(Kind::Internal, "Text that was JSON before")
}
