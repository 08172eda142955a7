//! The trust in a message when it is delivered: what is known of its sender by then.

use super::{Work, backup_restore, devices, isolation, user_trust};
use crate::{
    error::Result,
    judgement::{
        trust::{MessageFacts, Trust, of_message},
        utd_reason::UtdReason,
    },
    store::{
        Query,
        records::{Device, Event, Isolation, KeySource},
    },
};

/// What becomes of messages of devices that no trusted owner signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsigned {
    /// If only signed devices get keys, they are delivered without their content: anyone who can
    /// add a device to a user could have written them.
    AsTheModeSays,
    /// They are delivered like others.
    HandedOver,
}

/// The newest edit of an event.
#[derive(Debug)]
pub struct Edit {
    /// The content of the event as it is by now.
    pub content: String,
    /// The lower of the trust in the event and in its edit.
    pub trust: Trust,
}

/// An event as it is delivered.
#[derive(Debug)]
pub struct Handed {
    /// Its place in the order of delivery.
    pub number: i64,
    /// The event.
    pub event: Event,
    /// The trust in it, judged now: what is known of its sender's device may be newer than it.
    pub trust: Trust,
    /// It is our own.
    pub is_self: bool,
    /// The event that it replaces, if it is an edit that counts.
    pub replaces: Option<String>,
    /// Why an edit does not count: this one, or the one the server says is the newest of this.
    pub edit_reason: Option<String>,
    /// Its newest edit, of an old event.
    pub edit: Option<Edit>,
    /// The newest message of the thread that begins with it, of an old event.
    pub latest_in_thread: Option<Box<Handed>>,
}

impl Handed {
    /// Shows the event as its newest edit says.
    pub fn apply_edit(&mut self) {
        if let Some(edit) = &self.edit {
            self.event.content.clone_from(&edit.content);
            self.trust = edit.trust;
        }
        if let Some(latest) = &mut self.latest_in_thread {
            latest.apply_edit();
        }
    }
}

pub(super) fn judged(
    work: &Work<'_>,
    number: i64,
    mut event: Event,
    hold_back: bool,
) -> Result<Handed> {
    let is_authentic = event.key_source.is_none_or(KeySource::is_authentic);
    if let Some(reason) = backup_restore::why_not_in_backup(work, &event)? {
        event.unreadable = Some(reason);
    }
    let trust = if event.encrypted && event.unreadable.is_none() {
        let device = sending_device(work, &event)?;
        of_message(MessageFacts {
            claimed_signing_key: event.sender_signing_key.as_deref(),
            device: device.as_ref(),
            owner: user_trust::owner(work, &event.sender)?.as_ref(),
            is_authentic,
        })
    } else {
        Trust::None
    };
    let is_self = event.sender == work.own.user_id;
    let readable = event.encrypted && event.unreadable.is_none();
    let by_this_device = event.sender_key.as_deref() == Some(&work.own.identity_key);
    // The creator of a key that came by way of another user is only claimed: a forger would name a
    // signed device. To hold such messages back would only hit devices that are gone.
    let is_gone = !is_authentic && trust == Trust::UnknownDevice;
    if hold_back && readable && trust <= Trust::Unsigned && !is_gone && !by_this_device {
        event.content = "{}".to_owned();
        event.unreadable = Some(UtdReason::UnsignedSender.unreadable());
    }
    Ok(Handed {
        number,
        event,
        trust,
        is_self,
        replaces: None,
        edit_reason: None,
        edit: None,
        latest_in_thread: None,
    })
}

pub(super) fn sending_device(work: &Work<'_>, event: &Event) -> Result<Option<Device>> {
    let Some(key) = event.sender_key.as_deref() else {
        // Sessions of other packages may name the Ed25519 key alone.
        let signing_key = event.sender_signing_key.as_ref();
        let mut devices = devices::devices_of(work, &event.sender)?.into_iter();
        return Ok(devices.find(|device| Some(&device.signing_key) == signing_key));
    };
    let mut devices = work.tx.select::<Device>(&Query::equal("identity_key", key))?;
    devices.retain(|device| device.user_id == event.sender);
    // Anyone who adds a device to a user can copy one of the two keys.
    let claimed = event.sender_signing_key.as_ref();
    let at = devices.iter().position(|device| Some(&device.signing_key) == claimed);
    Ok(devices.into_iter().nth(at.unwrap_or(0)))
}

/// Whether what unsigned devices say is held back.
pub(super) fn holds_back(work: &Work<'_>, unsigned: Unsigned) -> Result<bool> {
    Ok(unsigned == Unsigned::AsTheModeSays && isolation::isolation(work)? == Isolation::Signed)
}
