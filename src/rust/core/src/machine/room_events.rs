//! Encrypts and decrypts events of rooms.
//!
//! Specification: client-server API, end-to-end encryption, "`m.megolm.v1.aes-sha2`".

use std::borrow::Cow;

use super::{
    MINUTE, Work,
    inbound_sessions::{self, place},
    relations, rooms,
};
use crate::{
    error::Result,
    judgement::{
        relation,
        room_event::{MegolmContent, Payload, RoomEvent, shown_type},
        utd_reason::UtdReason,
    },
    store::{
        Query,
        records::{Event, InboundSession, KeySource, KeyUpload, Unreadable, WithheldKey},
    },
};

/// Reads an event: decrypts it if it is encrypted, or says why that cannot be done.
pub(super) fn read_event(
    work: &mut Work<'_>,
    room_id: &str,
    event: &RoomEvent<'_>,
) -> Result<Event> {
    let mut read = Event {
        room_id: room_id.to_owned(),
        event_id: Some(event.event_id.clone()),
        event_type: event.event_type.clone(),
        state_key: event.state_key.clone(),
        sender: event.sender.clone(),
        origin_server_ts: event.origin_server_ts,
        content: event.content_text.to_owned(),
        encrypted: event.is_encrypted(),
        redacted: event.redacted,
        redacts: event.redacts.clone(),
        replaces: relation::target(&event.content, relation::REPLACE)
            .filter(|_| !event.redacted)
            .map(Cow::into_owned),
        ..Event::default()
    };
    if event.is_encrypted() {
        match decrypt(work, room_id, event, &mut read)? {
            Ok(payload) => {
                read.event_type = payload.event_type;
                read.content = payload.content_text;
            }
            Err(reason) => read.unreadable = Some(reason),
        }
    }
    read.event_type = shown_type(read.event_type);
    relations::remember(work, &read)?;
    Ok(read)
}

fn decrypt(
    work: &mut Work<'_>,
    room_id: &str,
    event: &RoomEvent<'_>,
    read: &mut Event,
) -> Result<Result<Payload, Unreadable>> {
    let content = match MegolmContent::read(event) {
        Ok(content) => content,
        Err(reason) => return Ok(Err(reason)),
    };
    read.session_id = Some(content.session_id.clone().into_owned());
    let Some(session) =
        inbound_sessions::session_of(work, room_id, &content.session_id, &event.sender)?
    else {
        let reason = why_no_session(work, room_id, &content.session_id, event)?;
        return Ok(Err(reason.unreadable()));
    };
    read.sender_key = said(&session.sender_key);
    read.sender_signing_key = said(&session.sender_signing_key);
    read.key_source = Some(session.source);
    read.forwarder = session.forwarder.clone();
    let number = session.number;
    let is_first = session.first_read == 0 && session.source != KeySource::Own;
    let place = place(session);
    let decrypted = match inbound_sessions::decrypt_at(work, &place, &content.ciphertext) {
        Ok(decrypted) => decrypted,
        Err(reason) => return Ok(Err(reason)),
    };
    let payload = match Payload::judge(&decrypted.plaintext, room_id, event) {
        Ok(payload) => payload,
        Err(reason) => return Ok(Err(reason)),
    };
    // Last, so that only an event that is otherwise good can take an index.
    let (index, ts) = (decrypted.message_index, event.origin_server_ts.max(0));
    if !work.tx.bind_index(number, index, &event.event_id, ts)? {
        return Ok(Err(UtdReason::Replayed.unreadable()));
    }
    if is_first {
        inbound_sessions::note_first_read(work, &place)?;
    }
    Ok(Ok(payload))
}

fn why_no_session(
    work: &Work<'_>,
    room_id: &str,
    session_id: &str,
    event: &RoomEvent<'_>,
) -> Result<UtdReason> {
    let of_others = Query::equal("room_id", room_id).and("session_id", session_id);
    if work.tx.count::<InboundSession>(&of_others)? > 0 {
        return Ok(UtdReason::SenderMismatch);
    }
    let key = [room_id.into(), session_id.into(), event.sender.as_str().into()];
    if let Some(notice) = work.tx.get::<WithheldKey>(&key)? {
        return Ok(UtdReason::of_withheld(&notice.code));
    }
    let sent_at = event.origin_server_ts;
    if rooms::room(work, room_id)?.joined_at.is_some_and(|joined| sent_at < joined) {
        return Ok(UtdReason::BeforeJoin);
    }
    let upload = work.tx.get_single::<KeyUpload>()?.unwrap_or_default();
    // Clocks differ a little.
    if sent_at < upload.began_at - MINUTE {
        return Ok(UtdReason::BeforeDevice);
    }
    Ok(UtdReason::UnknownSession)
}

fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
