//! To-device events: those that belong to no room have a lane of their own in the outbox.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    HOUR, Millis, Work,
    olm_sessions::{self, Contents},
    outbox,
    pump::Pump,
};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::room_event::ENCRYPTED,
    store::{
        Record,
        records::{Ask, Device, OutboxBody, OutboxRow, OutboxState},
    },
};

/// What was not sent by then is given up: nobody waits for it.
const LIFETIME: Millis = 7 * 24 * HOUR;

/// The body of `PUT /sendToDevice/…`.
#[derive(Serialize, Deserialize)]
struct Body {
    messages: Contents,
}

/// Encrypts an event to a device that we have a session with, and puts it in the outbox.
pub(super) fn send_to_device(
    work: &mut Work<'_>,
    device: &Device,
    event_type: &str,
    content: &RawValue,
) -> Result<()> {
    let one = std::slice::from_ref(device);
    let messages = olm_sessions::encrypt_to_devices(work, one, event_type, content)?;
    if messages.is_empty() { Ok(()) } else { outbox::tell_devices(work, ENCRYPTED, &messages) }
}

/// Whether messages of a room wait for this request: it brings their key.
pub(super) fn is_room_key(work: &Work<'_>, ask: &Ask) -> Result<bool> {
    let Ask::Send { number, .. } = ask else { return Ok(false) };
    let row = work.tx.get::<OutboxRow>(&[(*number).into()])?;
    Ok(row.is_some_and(|row| matches!(row.body, OutboxBody::RoomKeys { .. })))
}

/// Divides a request into two with half of the devices each. False where there is only one.
pub(super) fn halve(work: &Work<'_>, number: i64) -> Result<bool> {
    let row = work.tx.get::<OutboxRow>(&[number.into()])?;
    let Some(OutboxRow { wire: Some((_, body)), body: kind, room_id, .. }) = row else {
        return Ok(false);
    };
    if kind.to_device().is_none() {
        return Ok(false);
    }
    let Body { messages } =
        serde_json::from_str(&body).or_fail(Kind::Internal, "A to-device request")?;
    let devices: usize = messages.values().map(BTreeMap::len).sum();
    if devices < 2 {
        return Ok(false);
    }
    let mut halves = [Contents::new(), Contents::new()];
    let of_devices = messages.into_iter().flat_map(|(user_id, of_user)| {
        of_user.into_iter().map(move |(device_id, text)| (user_id.clone(), device_id, text))
    });
    for (place, (user_id, device_id, text)) in of_devices.enumerate() {
        let half = &mut halves[usize::from(place >= devices / 2)];
        half.entry(user_id).or_default().insert(device_id, text);
    }
    for messages in halves {
        let content = serde_json::to_string(&Body { messages })
            .or_fail(Kind::Internal, "A to-device request")?;
        let half = match &kind {
            OutboxBody::ToDevice { event_type, .. } => {
                OutboxBody::ToDevice { event_type: event_type.clone(), content }
            }
            _ => OutboxBody::RoomKeys { content },
        };
        outbox::enqueue(work, &room_id, half)?;
    }
    work.tx.delete::<OutboxRow>(&[number.into()])?;
    Ok(true)
}

/// Divides room keys that the server fails to deliver: one device may be the reason. No message waits any
/// longer for a device that is alone: its key is sent beside them, as often as it takes.
pub(super) fn divide(work: &Work<'_>, number: i64) -> Result<bool> {
    let Some(row) = work.tx.get::<OutboxRow>(&[number.into()])? else { return Ok(false) };
    if !matches!(row.body, OutboxBody::RoomKeys { .. }) {
        return Ok(false);
    }
    if !halve(work, number)? {
        work.tx.delete::<OutboxRow>(&row.key())?;
        if let Some((_, content)) = row.wire {
            let event_type = ENCRYPTED.to_owned();
            outbox::enqueue(work, outbox::NO_ROOM, OutboxBody::ToDevice { event_type, content })?;
        }
    }
    Ok(true)
}

/// Records that something was not sent.
pub(super) fn send_failed(work: &Work<'_>, number: i64) -> Result<()> {
    let Some(row) = work.tx.get::<OutboxRow>(&[number.into()])? else { return Ok(()) };
    let is_side = matches!(row.body, OutboxBody::ToDevice { .. });
    if is_side && row.queued_at + LIFETIME < work.now {
        work.tx.delete::<OutboxRow>(&row.key())?;
    }
    Ok(())
}

/// Sends what belongs to no room.
pub(super) fn send_to_devices(pump: &mut Pump<'_, '_>) -> Result<()> {
    let rows: Vec<OutboxRow> = outbox::rows(pump.work, outbox::NO_ROOM, OutboxState::Fixed)?;
    outbox::send_rows(pump, rows)
}
