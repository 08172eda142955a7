//! To-device events that belong to no room: they have a lane of their own in the outbox.

use std::collections::BTreeMap;

use serde_json::{json, value::RawValue};

use super::{Work, pump::Pump};
use crate::{
    error::{Kind, OrFail, Result},
    judgement::room_event::ENCRYPTED,
    store::records::{Device, OutboxBody, OutboxRow, OutboxState},
};

/// The place in the outbox of what belongs to no room.
pub(super) const NO_ROOM: &str = "to-device";

impl Work<'_> {
    /// Encrypts an event to a device that we have a session with, and puts it in the outbox.
    pub(super) fn send_to_device(
        &mut self,
        device: &Device,
        event_type: &str,
        content: &RawValue,
    ) -> Result<()> {
        let one = std::slice::from_ref(device);
        let encrypted = self.encrypt_to_devices(one, event_type, content)?;
        let Some(text) = encrypted.into_iter().flatten().next() else { return Ok(()) };
        let text = RawValue::from_string(text).or_fail(Kind::Internal, "A to-device message")?;
        let to = BTreeMap::from([(device.device_id.as_str(), text)]);
        self.tell_devices(ENCRYPTED, &BTreeMap::from([(device.user_id.as_str(), to)]))
    }

    /// Puts to-device events in the outbox: contents by user and device.
    pub(super) fn tell_devices(
        &self,
        event_type: &str,
        messages: &impl serde::Serialize,
    ) -> Result<()> {
        let content = serde_json::to_string(&json!({ "messages": messages }))
            .or_fail(Kind::Internal, "A to-device request")?;
        let event_type = event_type.to_owned();
        self.enqueue(NO_ROOM, OutboxBody::ToDevice { event_type, content }).map(drop)
    }
}

impl Pump<'_, '_> {
    /// Sends what belongs to no room.
    pub(super) fn send_to_devices(&mut self) -> Result<()> {
        let rows: Vec<OutboxRow> = self.work.rows(NO_ROOM, OutboxState::Fixed)?;
        self.send_rows(rows)
    }
}
